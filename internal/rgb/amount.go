package rgb

import (
	"encoding/base32"
	"encoding/binary"
	"math/bits"
)

var amountEncoding = base32.NewEncoding("abcdefghkmnABCDEFGHKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// FormatAmount writes an amount of an asset's smallest unit as an invoice holds it: little-endian without the high bytes that are
// zero, in RGB's base 32. 100 is "BF".
func FormatAmount(amount uint64) string {
	octets := binary.LittleEndian.AppendUint64(nil, amount)
	return amountEncoding.EncodeToString(octets[:max(1, (bits.Len64(amount)+7)/8)])
}

// ParseAmount reads what FormatAmount writes, and nothing else: *Error.
func ParseAmount(text string) (uint64, error) {
	octets, err := amountEncoding.DecodeString(text)
	if err == nil && len(octets) <= 8 {
		amount := binary.LittleEndian.Uint64(append(octets, make([]byte, 8)...))
		if FormatAmount(amount) == text {
			return amount, nil
		}
	}
	return 0, refuse(Malformed, "%s is not an amount in RGB's base 32", quote(text))
}
