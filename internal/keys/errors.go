package keys

import "fmt"

// Reason says why key material was refused. A caller may act on it; a person reads Error.
type Reason string

// The reasons.
const (
	// UnknownNetwork: the network is none of the constants of package bitcoin.
	UnknownNetwork Reason = "UnknownNetwork"
	// Missing: a Secret has none of the two forms of key material, or not all of one.
	Missing Reason = "Missing"
	// WrongWordCount: a mnemonic has 12, 15, 18, 21 or 24 words.
	WrongWordCount Reason = "WrongWordCount"
	// UnknownWord: the word at Position is not in the English list.
	UnknownWord Reason = "UnknownWord"
	// BadChecksum: every word is in the list, and together they are no mnemonic.
	BadChecksum Reason = "BadChecksum"
	// BadPassphrase: the passphrase is not UTF-8 text on one line.
	BadPassphrase Reason = "BadPassphrase"
	// BadFingerprint: the master fingerprint is not 8 lower-case hexadecimal digits.
	BadFingerprint Reason = "BadFingerprint"
	// BadExtendedKey: the text is no BIP 32 extended key, or its checksum is wrong.
	BadExtendedKey Reason = "BadExtendedKey"
	// NotPrivate: an extended public key was given where a private one is needed.
	NotPrivate Reason = "NotPrivate"
	// NotPublic: an extended private key was given where only a public one belongs.
	NotPublic Reason = "NotPublic"
	// WrongNetwork: the version of the extended key belongs to another network.
	WrongNetwork Reason = "WrongNetwork"
	// NotAnAccount: the extended key is not child 0' at depth 3, as m/86'/coin'/0' is.
	NotAnAccount Reason = "NotAnAccount"
	// SameKey: one extended key was given for both accounts.
	SameKey Reason = "SameKey"
	// UnusableKey: a derivation has no result (BIP 32: one chance in 2¹²⁷), or a path is outside the two accounts.
	UnusableKey Reason = "UnusableKey"
)

// Error says which key material was refused and why. It never holds a word, a key or a part of one.
type Error struct {
	Reason Reason
	// Field names the material: mnemonic, passphrase, vanilla account key, colored account key, master fingerprint, network, path or, where
	// there is none, key material.
	Field string
	// Position is the place of an unknown word, counted from 1; else 0.
	Position int

	detail string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s", e.Field, e.detail)
}

func refuse(reason Reason, field, format string, args ...any) *Error {
	return &Error{Reason: reason, Field: field, detail: fmt.Sprintf(format, args...)}
}
