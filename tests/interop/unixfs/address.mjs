// Prints the address that ipfs-unixfs-importer gives each file that is named on a line of standard input:
// "path leaf width", answered by one line each.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

for await (const line of createInterface({ input: process.stdin })) {
  const [path, leaf, width] = JSON.parse(line)
  const options = {
    cidVersion: 1,
    rawLeaves: true,
    reduceSingleLeafToSelf: true,
    chunker: fixedSize({ chunkSize: leaf }),
    layout: balanced({ maxChildrenPerNode: width })
  }
  const source = [{ path: 'file', content: createReadStream(path) }]
  let root
  for await (const entry of importer(source, new BlackHoleBlockstore(), options)) root = entry
  console.log(root.cid.toString())
}
