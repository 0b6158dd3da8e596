// Package load makes cameras that publish synthetic media by WHIP and viewers
// that take it by WHEP and judge every packet.
//
// Each packet carries a stamp behind what its codec needs: who made it, which
// one it is, when it was sent, its length, and a checksum. A viewer thus knows what is
// missing, late, corrupt or another camera's, whatever the server rewrote in
// the headers.
package load

import (
	"encoding/binary"
	"hash/crc32"
)

// stampSize is what a packet must have room for.
const stampSize = 30

const stampMagic = 0x53434232

// stamp identifies one packet.
type stamp struct {
	source  uint32
	counter uint64
	sent    int64 // Unix nanoseconds
}

// table is for CRC-32C, which processors compute by themselves.
func table() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// write puts the stamp at the beginning of b and seals all of b.
func (s stamp) write(b []byte) {
	binary.BigEndian.PutUint32(b, stampMagic)
	binary.BigEndian.PutUint32(b[4:], s.source)
	binary.BigEndian.PutUint64(b[8:], s.counter)
	binary.BigEndian.PutUint64(b[16:], uint64(s.sent))
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[26:], checksum(b))
}

// checksum covers everything but the checksum itself.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:26], table()), table(), b[stampSize:])
}

// readStamp reads what write wrote. found is false when there is no stamp, or
// one of a packet of another length: a server that packetizes anew has cut
// elsewhere. intact is false when something changed on the way.
func readStamp(b []byte) (s stamp, found, intact bool) {
	if len(b) < stampSize || binary.BigEndian.Uint32(b) != stampMagic || int(binary.BigEndian.Uint16(b[24:])) != len(b) {
		return stamp{}, false, false
	}
	s = stamp{
		source:  binary.BigEndian.Uint32(b[4:]),
		counter: binary.BigEndian.Uint64(b[8:]),
		sent:    int64(binary.BigEndian.Uint64(b[16:])),
	}
	return s, true, binary.BigEndian.Uint32(b[26:]) == checksum(b)
}
