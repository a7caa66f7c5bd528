package bottle

import "testing"

func BenchmarkParseHost(b *testing.B) {
	for name, s := range map[string]string{"plain": "api.example.com", "upper": "API.Example.com.", "idna": "bücher.example", "ipv4": "127.0.0.1", "ipv6": "2001:db8::1"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ParseHost(s)
			}
		})
	}
}

func BenchmarkReadPath(b *testing.B) {
	for name, s := range map[string]string{"plain": "/v1/messages/batches", "escaped": "/v1/caf%c3%a9/x", "loose": "/@scope%2fname"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ReadPath(s)
			}
		})
	}
}
