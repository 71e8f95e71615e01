// Frames, requests and answers: "Frames and requests" of docs/protocol.md.

export class RefusedByPeer extends Error {
  constructor ({ code, message }) {
    super(`${code}: ${message}`)
    this.code = code
  }
}

export function frame (payload) {
  const whole = Buffer.alloc(4 + payload.length)
  whole.writeUInt32BE(payload.length)
  whole.set(payload, 4)
  return whole
}

export async function send (stream, payload) {
  const whole = frame(payload)
  for (let at = 0; at < whole.length; at += 65536) {
    if (!stream.send(whole.subarray(at, at + 65536))) {
      await new Promise(resolve => stream.addEventListener('drain', resolve, { once: true }))
    }
  }
}

export class Frames {
  constructor (stream, maxFrame) {
    this.parts = stream[Symbol.asyncIterator]()
    this.maxFrame = maxFrame
    this.held = Buffer.alloc(0)
  }

  async take (size) {
    const parts = [this.held]
    let got = this.held.length
    while (got < size) {
      const { value, done } = await this.parts.next()
      if (done) {
        if (got) throw new Error('the stream ended inside a frame')
        return null
      }
      const bytes = value.subarray() // a list of pieces becomes one
      parts.push(bytes)
      got += bytes.length
    }
    const whole = Buffer.concat(parts)
    this.held = whole.subarray(size)
    return whole.subarray(0, size)
  }

  async receive () {
    const prefix = await this.take(4)
    if (prefix === null) return null
    const size = prefix.readUInt32BE()
    if (size > this.maxFrame) throw new Error(`a frame of ${size} bytes`)
    return size ? await this.take(size) : Buffer.alloc(0)
  }
}

export function result (answer) {
  if (answer === null || answer.length === 0) throw new Error('no answer')
  if (answer[0] === 0) return answer.subarray(1)
  if (answer[0] === 1) throw new RefusedByPeer(JSON.parse(answer.subarray(1).toString()))
  throw new Error('the answer makes no sense')
}

export async function request (connection, protocol, payload, maxAnswer) {
  const stream = await connection.newStream(protocol)
  try {
    await send(stream, payload)
    const closing = stream.close() // the half-close; reading goes on
    const answer = await new Frames(stream, Math.max(maxAnswer + 1, 4096)).receive()
    await closing
    return result(answer)
  } catch (error) {
    stream.abort(error)
    throw error
  }
}

export async function answerWith (stream, bytes) {
  await send(stream, Buffer.concat([Buffer.of(0), bytes]))
  await stream.close()
}
