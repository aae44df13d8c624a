// Usage: node server.js PORT
'use strict'

const Node = require('utp-punch')

const server = new Node(socket => {
  console.log('server: socket connected')
  socket.on('data', data => {
    console.log(`server: received '${data}'`)
    socket.write('world')
    socket.end()
  })
  socket.on('end', () => {
    console.log('server: socket disconnected')
    server.close()
  })
})
server.bind(Number(process.argv[2]), '127.0.0.1')
server.listen(() => console.log('server: ready'))
