// The RPC server of the IPFS project's JavaScript node, on loopback and on no network, until standard input ends.
// Prints its address. Its repository is in the folder that is named.
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'

const node = await create({
  repo: process.argv[2],
  offline: true,
  start: false,
  silent: true,
  config: {
    Addresses: { Swarm: [], API: '/ip4/127.0.0.1/tcp/0', Gateway: '' },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false } }
  }
})
const server = new HttpApi(node)
await server.start()
console.log(server._apiServers[0].info.uri)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
