package udp

// sysSendmmsg is too new for package syscall, whose numbers are those of an older
// Linux here.
const sysSendmmsg = 345
