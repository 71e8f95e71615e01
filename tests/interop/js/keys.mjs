// Peer ids, addresses and signatures, as "Keys, signatures, addresses" of docs/protocol.md has them.

import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'

const PEER_PREFIX = Buffer.from('002408011220', 'hex')
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const JSON_SHA256 = Buffer.from('0180041220', 'hex')
const NUL = Buffer.of(0)

export const sha256 = bytes => createHash('sha256').update(bytes).digest()

export function privateKey (seed) {
  return createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
}

export function publicKeyOfSeed (seed) {
  return createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' }).subarray(SPKI.length)
}

export function peerIdOf (publicKey) {
  return base58btc.baseEncode(Buffer.concat([PEER_PREFIX, publicKey]))
}

export function publicKeyOf (peerId) {
  const raw = Buffer.from(base58btc.baseDecode(peerId))
  if (raw.length !== 38 || !raw.subarray(0, 6).equals(PEER_PREFIX)) throw new Error('not an Ed25519 peer id')
  return raw.subarray(6)
}

export function cidOf (canonicalBytes) {
  return base32.encode(Buffer.concat([JSON_SHA256, sha256(canonicalBytes)]))
}

function message (context, network, bytes) {
  return Buffer.concat([Buffer.from(`openstall-${context}-v1`), NUL, Buffer.from(network), NUL, bytes])
}

export function signatureOf (seed, context, network, bytes) {
  return sign(null, message(context, network, bytes), privateKey(seed)).toString('base64url')
}

export function verifySignature (peerId, signature, context, network, bytes) {
  const raw = Buffer.from(signature, 'base64url')
  if (signature.length !== 86 || raw.toString('base64url') !== signature) return false // one spelling only
  const key = createPublicKey({
    key: Buffer.concat([SPKI, publicKeyOf(peerId)]), format: 'der', type: 'spki'
  })
  return verify(null, message(context, network, bytes), key, raw)
}
