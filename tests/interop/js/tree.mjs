// The tree of digests over the addresses of live records: "Catalogue" of docs/protocol.md.

import { sha256 } from './keys.mjs'

export const DIGEST = 16
export const LEVEL = 256 * DIGEST
const NOTHING = Buffer.alloc(DIGEST)

export const leafOf = cid => sha256(cid).readUInt16BE()

const digest = bytes => sha256(bytes).subarray(0, DIGEST)
const ofLevel = level => level.some(byte => byte !== 0) ? digest(level) : NOTHING

export class Tree {
  constructor (cids) {
    this.leaves = new Map() // number → its cids, sorted
    for (const cid of [...cids].sort()) {
      const leaf = leafOf(cid)
      this.leaves.set(leaf, [...this.leaves.get(leaf) ?? [], cid])
    }
  }

  level (branch) {
    const digests = Array.from({ length: 256 }, (_, at) => {
      const cids = this.leaves.get(256 * branch + at)
      return cids === undefined ? NOTHING : digest(cids.join('\n'))
    })
    return Buffer.concat(digests)
  }

  branches () {
    return Buffer.concat(Array.from({ length: 256 }, (_, branch) => ofLevel(this.level(branch))))
  }

  root () {
    return ofLevel(this.branches())
  }

  // The cids in runs of leaves (first and last of each), by leaf and cid, from behind one on.
  list (spans, after, most) {
    const inside = leaf => spans.some(([first, last]) => first <= leaf && leaf <= last)
    const behind = (leaf, cid) => !after || leaf > leafOf(after) || (leaf === leafOf(after) && cid > after)
    const found = [...this.leaves].sort(([one], [other]) => one - other).flatMap(([leaf, cids]) =>
      inside(leaf) ? cids.filter(cid => behind(leaf, cid)) : [])
    return [found.slice(0, most), found.length > most]
  }
}

// The numbers of the digests that differ, where the other has any.
export function differing (own, theirs) {
  const at = (level, index) => level.subarray(index * DIGEST, (index + 1) * DIGEST)
  return Array.from({ length: 256 }, (_, index) => index)
    .filter(index => !at(own, index).equals(at(theirs, index)) && !at(theirs, index).equals(NOTHING))
}

export function runs (numbers) {
  const found = []
  for (const one of numbers) {
    if (found.length && found.at(-1)[1] === one - 1) found.at(-1)[1] = one
    else found.push([one, one])
  }
  return found
}
