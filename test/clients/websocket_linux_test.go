package clients

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
)

// echo answers every message of a WebSocket (RFC 6455) with "echo " before it,
// and a close with the same close.
func echo(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-Websocket-Key")
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil || key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // section 1.3
	_, _ = io.WriteString(buf, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n") // Flush tells
	for message := []byte("echo "); ; {
		if buf.Flush() != nil {
			return
		}
		opcode, payload, final, err := readFrame(buf.Reader)
		switch {
		case err != nil:
			return
		case opcode == 8:
			writeFrame(buf.Writer, opcode, payload)
			_ = buf.Flush() // it is over either way
			return
		case opcode == 9:
			writeFrame(buf.Writer, 10, payload)
		case opcode > 1 || len(message)+len(payload) > 1<<20:
			return
		default: // text, or more of it
			if message = append(message, payload...); final {
				writeFrame(buf.Writer, 1, message)
				message = []byte("echo ")
			}
		}
	}
}

// readFrame reads one frame of a client, unmasked (section 5.2).
func readFrame(r *bufio.Reader) (opcode byte, payload []byte, final bool, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, false, err
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(r, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(r, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil || head[0]&0x70 != 0 || head[1]&0x80 == 0 || n > 1<<20 {
		return 0, nil, false, errors.Join(errors.New("a frame that this test does not expect"), err)
	}
	var mask [4]byte
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, nil, false, err
	}
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, false, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0] & 0xf, payload, head[0]&0x80 != 0, nil
}

func writeFrame(w *bufio.Writer, opcode byte, payload []byte) {
	head := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	_, _ = w.Write(append(head, payload...)) // Flush tells
}
