package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestICMPErrors has the errors that the kernel makes of ICMP messages, all of
// which someone can forge: none may end Read, or be taken for a datagram's own.
func TestICMPErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{
		// icmp_err_convert, by code, and what the other types become
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.ECONNREFUSED, syscall.EMSGSIZE,
		syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENONET, syscall.EPROTO,
		// icmpv6_err_convert
		syscall.EACCES,
	} {
		require.True(t, isSoftReadError(errno), errno)
		require.True(t, isPendingError(errno), errno)
	}
	for _, errno := range []syscall.Errno{
		syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EFAULT, syscall.ENOSYS, syscall.EPERM, syscall.EIO,
	} {
		require.False(t, isSoftReadError(errno), errno)
		require.False(t, isPendingError(errno), errno)
	}
}
