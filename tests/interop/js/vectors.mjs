// Checks the test vectors of docs/protocol.md with what this client does; prints what it found, or fails.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { decode as unpack, encode as pack } from '@msgpack/msgpack'
import { blobCid, manifestOf, readManifest, runRequest } from './blobs.mjs'
import { Frames, RefusedByPeer, frame, result } from './exchange.mjs'
import { cidOf, peerIdOf, publicKeyOf, publicKeyOfSeed, sha256, signatureOf, verifySignature } from './keys.mjs'
import { decode, encode, readRecord, Refused } from './statements.mjs'
import { leafOf, Tree } from './tree.mjs'

const BY_SCHEMA = ['bad_text', 'bad_schema', 'unknown_type'] // this client does not read what bodies say
const read = name => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url)))
const bytes = hex => Buffer.from(hex, 'hex')
const counted = {}
const each = (name, list, check) => {
  for (const one of list) check(one)
  counted[name] = list.length
}

const canonical = read('canonical')
each('canonical', canonical.valid, ({ value, hex }) => {
  assert.equal(encode(value).toString('hex'), hex)
  assert.deepEqual(decode(bytes(hex)), value)
})
each('not canonical', canonical.refused, ({ name, hex }) => {
  assert.throws(() => decode(bytes(hex)), Refused, name)
})

const signatures = read('signatures')
const { network, peer_id: author } = signatures
const content = bytes(signatures.content_hex)
assert.equal(cidOf(content), signatures.cid)
each('keys', signatures.keys, ({ seed, public_key: key, peer_id: peer }) => {
  assert.equal(publicKeyOfSeed(bytes(seed)).toString('hex'), key)
  assert.equal(peerIdOf(bytes(key)), peer)
  assert.equal(publicKeyOf(peer).toString('hex'), key)
})
const seed = bytes(signatures.keys.find(one => one.peer_id === author).seed)
each('signatures', Object.entries(signatures.signatures), ([context, signature]) => {
  assert.equal(signatureOf(seed, context, network, content), signature)
  assert.ok(verifySignature(author, signature, context, network, content))
})
each('bad signatures', signatures.refused, ({ name, context, signature }) => {
  assert.ok(!verifySignature(author, signature, context, network, content), name)
})

const records = read('records')
each('records', records.valid, ({ type, cid, wire }) => {
  const found = readRecord(Buffer.from(wire), records.network, records.now)
  assert.deepEqual([found.cid, found.record.type], [cid, type])
})
const ofForm = records.refused.filter(one => !BY_SCHEMA.includes(one.code) || /field too/.test(one.name))
each('bad records', ofForm, ({ name, hex }) => {
  assert.throws(() => readRecord(bytes(hex), records.network, records.now), Refused, name)
})

const orders = read('orders')
each('orders', orders.orders, ({ id, document, signatures: signed }) => {
  const raw = Buffer.from(document)
  decode(raw)
  assert.equal(sha256(raw).toString('hex'), id)
  for (const [side, signature] of Object.entries(signed)) {
    assert.ok(verifySignature(orders.parties[side], signature, 'order', orders.network, raw), side)
  }
})

const blobs = read('blobs')
each('blobs', blobs.blobs, ({ size, sha256: whole, cid, manifest_hex: hex }) => {
  const raw = manifestOf(Uint8Array.from({ length: size }, (_, i) => i % 251))
  assert.equal(raw.toString('hex'), hex)
  assert.equal(blobCid(raw), cid)
  assert.equal(readManifest(raw, cid).sha256.toString('hex'), whole)
})
each('bad manifests', blobs.refused, ({ name, hex }) => {
  assert.throws(() => readManifest(bytes(hex), blobCid(bytes(hex))), undefined, name)
})

const frames = read('frames')
for (const { payload_hex: payload, frame_hex: whole } of frames.frames) {
  assert.equal(frame(bytes(payload)).toString('hex'), whole)
  const byByte = (async function * () { for (const one of bytes(whole)) yield Uint8Array.of(one) })()
  assert.equal((await new Frames(byByte, 1024).receive()).toString('hex'), payload)
}
counted.frames = frames.frames.length
each('answers', frames.answers, ({ result_hex: good, refusal, answer_hex: answer }) => {
  if (refusal === undefined) assert.equal(result(bytes(answer)).toString('hex'), good)
  else assert.throws(() => result(bytes(answer)), error => error instanceof RefusedByPeer && error.code === refusal.code)
})
assert.deepEqual(JSON.parse(bytes(frames.hello.payload_hex)), frames.hello.value)
each('blob questions', frames.blob_questions, ({ cid, first, count, payload_hex: payload }) => {
  const written = count ? runRequest(cid, first, count) : Buffer.from(`M${cid}`)
  assert.equal(written.toString('hex'), payload)
})
each('message ids', frames.message_ids, ({ data_hex: data, id_hex: id }) => {
  assert.equal(sha256(bytes(data)).toString('hex'), id)
})
each('MessagePack', frames.messagepack, ({ value, value_hex: raws, hex }) => {
  const meant = value ?? raws.map(bytes)
  assert.equal(Buffer.from(pack(meant)).toString('hex'), hex)
  const found = unpack(bytes(hex))
  assert.deepEqual(raws ? found.map(one => Buffer.from(one)) : found, meant)
})

const tree = read('tree')
each('leaves', tree.leaves, ({ cid, leaf }) => assert.equal(leafOf(cid), leaf))
each('sets', tree.sets, ({ cids, root_hex: root, sha256_of_branches: branches }) => {
  const made = new Tree(cids ?? Array.from({ length: 1000 }, (_, at) => cidOf(Buffer.from(`record ${at}`))))
  assert.equal(made.root().toString('hex'), root)
  assert.equal(sha256(made.branches()).toString('hex'), branches)
})

process.stdout.write(JSON.stringify(counted) + '\n')
