// The canonical form, and records: what "Canonical form" and "Records" of docs/protocol.md say.

import canonicalize from 'canonicalize'
import { cidOf, signatureOf, verifySignature } from './keys.mjs'

const MAX_BYTES = 64 * 1024
const MAX_DEPTH = 12
const FIELDS = ['author', 'body', 'expires', 'issued', 'key', 'network', 'prev', 'seq', 'type', 'v']
const SKEW_S = 600
const LIFE_S = 400 * 86_400

export class Refused extends Error {}

const refuse = why => { throw new Refused(why) }

function check (value, depth) {
  if (depth > MAX_DEPTH) refuse('nested too deeply')
  if (typeof value === 'number' && !Number.isSafeInteger(value)) refuse('not a whole number within 2^53 - 1')
  if (typeof value === 'string' && !value.isWellFormed()) refuse('a lone surrogate')
  if (value !== null && typeof value === 'object') {
    for (const [name, one] of Object.entries(value)) {
      if (!name.isWellFormed()) refuse('a lone surrogate')
      check(one, depth + 1)
    }
  }
}

export function encode (value) {
  check(value, 0)
  return Buffer.from(canonicalize(value))
}

export function decode (bytes) {
  if (bytes.length > MAX_BYTES) refuse('too large')
  let value
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    refuse('not JSON')
  }
  // A field that came twice, a fraction written as 1.0, white space: none of them survives this.
  if (!encode(value).equals(Buffer.from(bytes))) refuse('not canonical')
  return value
}

export function signRecord (record, seed) {
  const content = encode(record)
  const sig = signatureOf(seed, record.type, record.network, content)
  return { cid: cidOf(content), raw: encode({ record, sig }) }
}

export function readRecord (raw, network, now) {
  const envelope = decode(raw)
  if (Object.keys(envelope ?? {}).sort().join() !== 'record,sig') refuse('not a record')
  const { record, sig } = envelope
  if (Object.keys(record).sort().join() !== FIELDS.join() || record.v !== 1) refuse('not a record')
  if (record.network !== network) refuse('of another network')
  if (record.issued > now + SKEW_S) refuse('dated in the future')
  if (record.expires <= record.issued || record.expires > record.issued + LIFE_S) refuse('bad dates')
  if (record.expires <= now) refuse('expired')
  const content = encode(record)
  let good = false
  try {
    good = verifySignature(record.author, sig, record.type, network, content)
  } catch {
    refuse('no author')
  }
  if (!good) refuse('bad signature')
  return { cid: cidOf(content), record }
}
