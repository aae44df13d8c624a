// Usage: node client.js PORT
'use strict'

const Node = require('utp-punch')

const client = new Node()
client.bind()
client.connect(Number(process.argv[2]), '127.0.0.1', socket => {
  console.log('client: socket connected')
  socket.on('data', data => console.log(`client: received '${data}'`))
  socket.on('end', () => {
    console.log('client: socket disconnected')
    client.close()
  })
  socket.write('hello')
})
