// An IPFS gateway on loopback, of helia's own packages: it adds the files that are named, prints "address cid..." and
// serves GET /ipfs/<cid> until its standard input ends. It is on no network: it has these files or nothing.
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { withHTTP } from '@helia/http'
import { unixfs } from '@helia/unixfs'
import { createVerifiedFetchWithHelia } from '@helia/verified-fetch'
import { createHeliaLight } from 'helia'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const helia = withHTTP(createHeliaLight(), { delegatedRouters: [], recursiveGateways: [] })
await helia.start()
const files = unixfs(helia)
const options = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: fixedSize({ chunkSize: 262144 }),
  layout: balanced({ maxChildrenPerNode: 174 })
}
const cids = []
for (const path of process.argv.slice(2)) {
  cids.push(await files.addByteStream(createReadStream(path), options))
}
const fetched = await createVerifiedFetchWithHelia(helia)

const server = createServer(async (asked, answer) => {
  try {
    if (!asked.url.startsWith('/ipfs/')) {
      answer.writeHead(404).end()
      return
    }
    const headers = asked.headers.range === undefined ? {} : { range: asked.headers.range }
    const found = await fetched(`ipfs://${asked.url.slice('/ipfs/'.length)}`, { headers, signal: AbortSignal.timeout(5000) })
    answer.writeHead(found.status, Object.fromEntries(found.headers))
    if (found.body === null) answer.end()
    else await pipeline(Readable.fromWeb(found.body), answer)
  } catch (error) {
    if (!answer.headersSent) answer.writeHead(504)
    answer.end()
  }
})
server.listen(0, '127.0.0.1', () => {
  console.log([`http://127.0.0.1:${server.address().port}`, ...cids].join(' '))
})
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
