// A peer of another make: js-libp2p, and what docs/protocol.md says. It takes commands as JSON lines on its
// standard input, and answers each with one JSON line; what happens meanwhile is told as a line with "event".

import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { fetchBlob } from './blobs.mjs'
import { answerWith, Frames, request } from './exchange.mjs'
import { sha256 } from './keys.mjs'
import { signRecord } from './statements.mjs'
import { Sync } from './sync.mjs'

const HELLO = '/openstall/hello/1'
const settings = JSON.parse(process.argv[2])
const seed = Buffer.from(settings.seed, 'hex')
const say = line => process.stdout.write(JSON.stringify(line) + '\n')
const now = () => Math.floor(Date.now() / 1000)

const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', seed),
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({
      globalSignaturePolicy: 'StrictSign',
      msgIdFn: message => sha256(message.data),
      allowPublishToZeroTopicPeers: true
    })
  }
})
const me = node.peerId.toString()
let sync = null
let network = settings.network ?? ''
const last = { seq: 0, cid: '' } // of the records that this peer has signed

const hello = seen => Buffer.from(JSON.stringify({ v: 1, network, name: settings.name, addrs: [], seen }))

// Serving

async function serve (protocol, maxRequest, answer) {
  await node.handle(protocol, async (stream, connection) => {
    try {
      const asked = await new Frames(stream, maxRequest).receive()
      if (asked !== null) await answerWith(stream, await answer(asked, connection))
    } catch (error) {
      stream.abort(error)
    }
  })
}

await serve(HELLO, 8192, (asked, connection) => hello(connection.remoteAddr.toString()))

async function join (name) {
  network = name
  sync = new Sync(name)
  await sync.serve(serve)
  node.services.pubsub.addEventListener('gossipsub:message', ({ detail }) => {
    const news = JSON.parse(Buffer.from(detail.msg.data).toString())
    say({ event: 'news', news, from: detail.propagationSource.toString() })
  })
  node.services.pubsub.subscribe(`${sync.prefix}/1`)
}

// Commands

const connection = () => node.getConnections()[0] ?? (() => { throw new Error('not connected') })()

function announce (cid, record, size) {
  const news = { cid, type: record.type, author: record.author, seq: record.seq, size }
  return node.services.pubsub.publish(`${sync.prefix}/1`, Buffer.from(JSON.stringify(news)))
}

const commands = {
  async connect ({ addr }) {
    const made = await node.dial(multiaddr(addr))
    return { peer: made.remotePeer.toString() }
  },
  async ping () {
    return { ms: await node.services.ping.ping(connection().remotePeer) }
  },
  async identify () {
    const found = await node.services.identify.identify(connection())
    return { agent: found.agentVersion, protocols: found.protocols, seen: found.observedAddr?.toString() }
  },
  async hello () {
    const remote = connection().remoteAddr.toString().split('/p2p/')[0]
    return JSON.parse((await request(connection(), HELLO, hello(remote), 8192)).toString())
  },
  async join ({ name }) {
    await join(name)
    return {}
  },
  async audience () {
    return { peers: node.services.pubsub.getSubscribers(`${sync.prefix}/1`).map(String) }
  },
  async pull ({ cids }) {
    const before = sync.held.size
    await sync.bodies(connection(), cids)
    return { gained: sync.held.size - before }
  },
  async sync () {
    return await sync.withPeer(connection())
  },
  async held () {
    return { records: [...sync.held].map(([cid, { record }]) => ({ cid, record })) }
  },
  async publish ({ type, key, body, life_s: lifeS, spoil }) {
    const issued = now()
    const expires = spoil === 'life' ? issued : issued + lifeS
    const seq = last.seq + 1
    const record = { v: 1, type, network, author: me, key, seq, prev: last.cid, issued, expires, body }
    const signed = { record, ...signRecord(record, seed) }
    if (spoil === 'signature') signed.raw = Buffer.from(signed.raw.toString().replace(/"sig":"./, '"sig":"_'))
    if (spoil === 'form') signed.raw = Buffer.from(signed.raw.toString().replace('{"record"', '{ "record"'))
    ;(spoil ? sync.lies : sync.held).set(signed.cid, signed)
    if (!spoil) Object.assign(last, { seq, cid: signed.cid })
    const { recipients } = await announce(signed.cid, record, signed.raw.length)
    return { cid: signed.cid, told: recipients.length }
  },
  async blob ({ cid }) {
    const content = await fetchBlob(connection(), cid)
    return { size: content.length, sha256: sha256(content).toString('hex') }
  },
  async ask ({ protocol, payload, most }) {
    const answer = await request(connection(), protocol, Buffer.from(payload, 'hex'), most ?? 65536)
    return { answer: answer.toString('hex') }
  }
}

node.addEventListener('peer:disconnect', ({ detail }) => say({ event: 'disconnected', peer: detail.toString() }))
say({ event: 'ready', peer: me })
for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...rest } = JSON.parse(line)
  try {
    say({ did: name, ...await commands[name](rest) })
  } catch (error) {
    say({ did: name, error: error.message, code: error.code ?? '' })
  }
}
await node.stop()
