// Package foreign is a program that speaks to the kernel of amd64 by the way of another
// architecture, for the attempt to get round a filter of system calls by it.
package foreign

// Program is one of 32-bit system calls in a 64-bit process: int 0x80 with
// number 20 (getpid of i386), then exit(0) the same way. It writes nothing.
func Program() []byte {
	code := []byte{
		0xb8, 20, 0, 0, 0, 0xcd, 0x80, // mov eax, 20; int 0x80
		0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80, // mov eax, 1; xor ebx, ebx; int 0x80
	}
	const base, head = 0x400000, 64 + 56
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le := func(size int, v uint64) {
		for range size {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	le(2, 2)  // executable
	le(2, 62) // x86-64
	le(4, 1)
	le(8, base+head) // entry
	le(8, 64)        // program headers
	le(8, 0)
	le(4, 0)
	for _, v := range []uint64{64, 56, 1, 0, 0, 0} {
		le(2, v)
	}
	le(4, 1) // PT_LOAD
	le(4, 5) // read, execute
	for _, v := range []uint64{0, base, base, head + uint64(len(code)), head + uint64(len(code)), 0x1000} {
		le(8, v)
	}
	return append(b, code...)
}
