// A uTP peer with byte streams, driven by lines on standard input. Usage: node streams.js LIBRARY
//
//   accept BEHAVIOUR      what connections that arrive do from now on
//   listen [PORT]         > listening PORT
//   dial ID PORT BEHAVIOUR
//   write ID N SEED       > wrote ID, when the library has taken all of it
//   end ID                ends our side of the stream, after what is being written
//   destroy ID            ends both
//   exit
//
// A behaviour is echo, sink (reads, and ends our side when the peer's ends), source N SEED (writes so many
// pseudo-random bytes, then ends), both N SEED (the two at once), or hold (reads, and never ends); with "quiet" before
// it there is no greeting.
//
// The initiator begins every conversation with a byte, the greeting, which the acceptor throws away: a libutp that
// accepted cannot write before it was written to.
//
// Reports: > accepted ID (a1, a2, …) · connected ID · greeted ID · end ID BYTES SHA256 (the peer's end of stream) ·
// error ID CODE · closed ID
'use strict'

const crypto = require('crypto')
const path = require('path')
const readline = require('readline')

const root = path.join(__dirname, '.peers', 'node_modules')

// What each library calls it. A library has one socket, for both roles.
const libraries = {
  'utp-native': () => {
    const utp = require(path.join(root, 'utp-native'))()
    return {
      listen: (port, onlistening, onconnection) => {
        utp.on('connection', onconnection)
        utp.listen(port, '127.0.0.1', () => onlistening(utp.address().port))
      },
      dial: (port, onconnect) => {
        const conn = utp.connect(port, '127.0.0.1')
        conn.once('connect', onconnect)
        return conn
      },
      // The native code flushes what it was given.
      destroy: conn => conn.destroy()
    }
  },
  'utp-punch': () => {
    const node = new (require(path.join(root, 'utp-punch')))()
    let bound = false
    const bind = port => {
      if (!bound) node.bind(port, '127.0.0.1')
      bound = true
    }
    return {
      listen: (port, onlistening, onconnection) => {
        node.on('connection', onconnection)
        bind(port)
        node.listen(() => onlistening(node.address().port))
      },
      dial: (port, onconnect) => {
        bind(0)
        return node.connect(port, '127.0.0.1', onconnect)
      },
      destroy: conn => conn.destroy()
    }
  }
}

const library = libraries[process.argv[2]]()
const conns = new Map()
const writes = new Map() // promises, by id
let accepting = ['hold']
let accepted = 0

const report = (...words) => process.stdout.write(words.join(' ') + '\n')

// bytes yields N pseudo-random bytes: AES-128 in counter mode, whose key ends with the seed.
function * bytes (n, seed) {
  const key = Buffer.alloc(16)
  key.writeBigUInt64BE(BigInt(seed), 8)
  const cipher = crypto.createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(65536)
  for (; n > 0; n -= zeros.length) yield cipher.update(zeros.subarray(0, Math.min(n, zeros.length)))
}

function write (conn, n, seed, done) {
  const source = bytes(n, seed)
  const next = () => {
    const { value, done: over } = source.next()
    if (over) return done()
    if (!conn.destroyed) conn.write(value, next)
  }
  next()
}

// handle takes a connection over: it reports what happens, and begins to behave when it has been greeted.
function handle (id, conn, behaviour, greeted) {
  conns.set(id, conn)
  const hash = crypto.createHash('sha256')
  const echo = behaviour[0] === 'echo'
  let count = 0
  conn.on('data', data => {
    if (!greeted) {
      greeted = true
      report('greeted', id)
      behave()
      data = data.subarray(1)
      if (!data.length) return
    }
    count += data.length
    hash.update(data)
    if (echo && !conn.write(data)) {
      conn.pause()
      conn.once('drain', () => conn.resume())
    }
  })
  conn.on('end', () => {
    report('end', id, count, hash.digest('hex'))
    if (echo || behaviour[0] === 'sink') conn.end()
  })
  conn.on('error', err => report('error', id, err.code || err.message.replace(/ /g, '_')))
  conn.on('close', () => {
    conns.delete(id)
    report('closed', id)
  })
  const behave = () => {
    if (behaviour[0] !== 'source' && behaviour[0] !== 'both') return
    write(conn, Number(behaviour[1]), behaviour[2], () => {
      report('wrote', id)
      conn.end()
    })
  }
  return { greet: () => { conn.write(Buffer.from('!')); behave() } }
}

// quiet splits what may stand before a behaviour off it.
const quiet = words => words[0] === 'quiet' ? [true, words.slice(1)] : [false, words]

const commands = {
  accept: (...behaviour) => { accepting = behaviour },
  listen: port => library.listen(Number(port || 0), port => report('listening', port), conn => {
    const id = 'a' + ++accepted
    report('accepted', id)
    const [silent, behaviour] = quiet(accepting)
    handle(id, conn, behaviour, silent)
  }),
  dial: (id, port, ...words) => {
    const [silent, behaviour] = quiet(words)
    const conn = library.dial(Number(port), () => {
      report('connected', id)
      if (!silent) handler.greet()
    })
    const handler = handle(id, conn, behaviour, true)
  },
  write: (id, n, seed) => writes.set(id, new Promise(resolve => {
    write(conns.get(id), Number(n), seed, () => {
      report('wrote', id)
      resolve()
    })
  })),
  end: id => Promise.resolve(writes.get(id)).then(() => conns.get(id).end()),
  destroy: id => library.destroy(conns.get(id)),
  exit: () => process.exit(0)
}

readline.createInterface({ input: process.stdin })
  .on('line', line => {
    const [command, ...args] = line.split(' ')
    commands[command](...args)
  })
  .on('close', () => process.exit(0))
