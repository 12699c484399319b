package keys

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// english is the word list of BIP 39 (bitcoin/bips: bip-0039/english.txt): 2048 words, sorted, one a line.
//
//go:embed english.txt
var english string

var words = sync.OnceValue(func() []string { return strings.Fields(english) })

const (
	bitsPerWord = 11
	seedRounds  = 2048
	seedBytes   = 64
)

// seed returns the 64-byte BIP 39 seed of mnemonic, whose words may be separated by any white space, and passphrase, which may be
// empty. It refuses a mnemonic whose checksum is wrong: a seed made from it would silently be another wallet's.
func seed(mnemonic, passphrase string) ([]byte, error) {
	sentence := strings.Fields(mnemonic)
	if err := checkMnemonic(sentence); err != nil {
		return nil, err
	}
	if !utf8.ValidString(passphrase) {
		return nil, refuse(BadPassphrase, "passphrase", "is not UTF-8 text")
	}
	// Every passphrase opens a wallet. The newline at the end of a file opens an empty one, and the loss looks like a theft.
	if strings.ContainsFunc(passphrase, unicode.IsControl) {
		return nil, refuse(BadPassphrase, "passphrase", "holds a control character, such as the line break at the end of a file: remove it")
	}
	s, err := pbkdf2.Key(sha512.New, strings.Join(sentence, " "), []byte("mnemonic"+norm.NFKD.String(passphrase)), seedRounds, seedBytes)
	if err != nil {
		return nil, refuse(UnusableKey, "mnemonic", "could not be stretched into a seed")
	}
	return s, nil
}

// checkMnemonic tells whether the sentence is a BIP 39 mnemonic: known words, and a checksum in the last bits of the last word.
func checkMnemonic(sentence []string) error {
	n := len(sentence)
	if n < 12 || n > 24 || n%3 != 0 {
		return refuse(WrongWordCount, "mnemonic", "has %d words; it must have 12, 15, 18, 21 or 24", n)
	}
	var bits []byte // one bit a byte: 264 at most
	for i, word := range sentence {
		index, ok := slices.BinarySearch(words(), word)
		if !ok {
			err := refuse(UnknownWord, "mnemonic", "has at position %d a word that is not in the English BIP 39 list (lower case, no punctuation)", i+1)
			err.Position = i + 1
			return err
		}
		for b := bitsPerWord - 1; b >= 0; b-- {
			bits = append(bits, byte(index>>b)&1)
		}
	}
	checksumBits := len(bits) / 33 // ENT/32 of ENT+ENT/32
	entropy := pack(bits[:len(bits)-checksumBits])
	sum := sha256.Sum256(entropy)
	for i, bit := range bits[len(bits)-checksumBits:] {
		if bit != sum[i/8]>>(7-i%8)&1 {
			return refuse(BadChecksum, "mnemonic", "has a wrong checksum: a word is mistaken or out of order")
		}
	}
	return nil
}

// pack returns bits, a multiple of eight, as bytes, most significant first.
func pack(bits []byte) []byte {
	packed := make([]byte, len(bits)/8)
	for i, bit := range bits {
		packed[i/8] |= bit << (7 - i%8)
	}
	return packed
}
