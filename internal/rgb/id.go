package rgb

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// ContractID is the 32-byte identity of an RGB contract, which is the id of the asset that it issues.
type ContractID [32]byte

// SchemaID is the 32-byte identity of the schema that a contract follows.
type SchemaID [32]byte

const (
	contractPrefix = "rgb:"
	base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~"
)

// Strict refuses trailing bits that are not zero: without it several texts would name one contract.
var baid64 = base64.NewEncoding(base64Alphabet).WithPadding(base64.NoPadding).Strict()

// ParseAssetID reads a contract id in the one spelling that RGB tools write today, such as
// "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8". The base 58 and base 64 spellings of earlier releases are refused, as is
// any other grouping, so that equal ids are equal texts. An id carries no checksum: a mistyped one may well parse. It returns
// *Error.
func ParseAssetID(text string) (ContractID, error) {
	encoded, ok := strings.CutPrefix(text, contractPrefix)
	if !ok {
		return ContractID{}, refuse(Malformed, "asset id %s does not start with %q", quote(text), contractPrefix)
	}
	return parseContract(encoded)
}

// parseContract reads a contract id without its "rgb:".
func parseContract(encoded string) (ContractID, error) {
	var id ContractID
	payload, err := baid64.DecodeString(strings.ReplaceAll(encoded, "-", ""))
	if err != nil || len(payload) != len(id) {
		return ContractID{}, refuse(Malformed, "asset id %s is not 32 bytes in RGB's base 64; copy it from the wallet's asset list",
			quote(contractPrefix+encoded))
	}
	copy(id[:], payload)
	if id.encoded() != encoded {
		return ContractID{}, refuse(Malformed, "asset id %s is not in its canonical spelling, which is %s",
			quote(contractPrefix+encoded), id)
	}
	return id, nil
}

// String returns the canonical text of id, which starts with "rgb:".
func (id ContractID) String() string { return contractPrefix + id.encoded() }

func (id ContractID) encoded() string { return chunk(baid64.EncodeToString(id[:])) }

// String returns id as an invoice holds it: 43 characters without groups or prefix.
func (id SchemaID) String() string { return baid64.EncodeToString(id[:]) }

func parseSchema(encoded string) (SchemaID, error) {
	var id SchemaID
	payload, err := baid64.DecodeString(encoded)
	if err != nil || len(payload) != len(id) || baid64.EncodeToString(payload) != encoded {
		return SchemaID{}, refuse(Malformed, "schema id %s is not 32 bytes in RGB's base 64", quote(encoded))
	}
	copy(id[:], payload)
	return id, nil
}

// chunk groups text as RGB prints ids: 8 characters, then groups of 7, joined by hyphens.
func chunk(text string) string {
	var grouped strings.Builder
	grouped.Grow(len(text) + len(text)/7)
	for size := 8; len(text) > size; size = 7 {
		grouped.WriteString(text[:size])
		grouped.WriteByte('-')
		text = text[size:]
	}
	grouped.WriteString(text)
	return grouped.String()
}

// checksum returns the four bytes that follow payload in an id of the given kind. The second byte of the digest is in it twice, as
// the reference implementation (baid64) has it.
func checksum(kind string, payload []byte) [4]byte {
	key := sha256.Sum256([]byte(kind))
	digest := sha256.Sum256(append(key[:], payload...))
	return [4]byte{digest[0], digest[1], digest[1], digest[2]}
}
