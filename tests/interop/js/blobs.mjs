// Fetching a blob: "Blobs" of docs/protocol.md.

import { blake3 } from '@noble/hashes/blake3.js'
import { base32 } from 'multiformats/bases/base32'
import { Frames, result, send } from './exchange.mjs'
import { sha256 } from './keys.mjs'

const CHUNK = 1024 * 1024
const MAX_RUN = 64
const HEAD = 48
const RAW_BLAKE3 = Buffer.from('01551e20', 'hex')

export const blobCid = manifest => base32.encode(Buffer.concat([RAW_BLAKE3, blake3(manifest)]))

export function readManifest (raw, cid) {
  if (blobCid(raw) !== cid) throw new Error('the manifest is not the one that was asked for')
  if (raw.subarray(0, 8).toString('latin1') !== 'OSBLOB1\0') throw new Error('no manifest')
  const size = Number(raw.readBigUInt64BE(8))
  const chunks = Math.ceil(size / CHUNK)
  if (raw.length !== HEAD + 32 * chunks) throw new Error('the manifest has a wrong length')
  const hash = index => raw.subarray(HEAD + 32 * index, HEAD + 32 * (index + 1))
  return { size, sha256: raw.subarray(16, 48), chunks, hash }
}

export function manifestOf (content) {
  const head = Buffer.alloc(16)
  head.write('OSBLOB1\0', 'latin1')
  head.writeBigUInt64BE(BigInt(content.length), 8)
  const hashes = []
  for (let at = 0; at < content.length; at += CHUNK) hashes.push(blake3(content.subarray(at, at + CHUNK)))
  return Buffer.concat([head, sha256(content), ...hashes])
}

export function runRequest (cid, first, count) {
  const tail = Buffer.alloc(6)
  tail.writeUInt32BE(first)
  tail.writeUInt16BE(count, 4)
  return Buffer.concat([Buffer.from(`R${cid}`), tail])
}

export async function fetchBlob (connection, cid) {
  const stream = await connection.newStream('/openstall/blob/1', { maxOutboundStreams: 8 })
  stream.maxReadBufferLength = 128 * CHUNK
  try {
    const frames = new Frames(stream, 2 * CHUNK)
    await send(stream, Buffer.from(`M${cid}`))
    const manifest = readManifest(result(await frames.receive()), cid)
    const parts = []
    for (let first = 0; first < manifest.chunks; first += MAX_RUN) {
      const count = Math.min(MAX_RUN, manifest.chunks - first)
      await send(stream, runRequest(cid, first, count))
      result(await frames.receive())
      for (let index = first; index < first + count; index++) {
        const chunk = await frames.receive()
        if (chunk === null || !manifest.hash(index).equals(blake3(chunk))) throw new Error(`chunk ${index} is wrong`)
        parts.push(chunk)
      }
    }
    await stream.close()
    const content = Buffer.concat(parts)
    if (content.length !== manifest.size || !sha256(content).equals(manifest.sha256)) throw new Error('wrong content')
    return content
  } catch (error) {
    stream.abort(error)
    throw error
  }
}
