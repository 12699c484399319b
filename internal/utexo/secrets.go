package utexo

import (
	"errors"
	"slices"
	"strings"
)

// secrets are what no word of the service may carry to those who read a result: the token, the headers' values and the wallet's keys.
type secrets struct {
	// redact takes all of them out of a text, and whatever looks like a key or a PSBT.
	redact func(string) string
	// words are what redact looks for.
	words []string
	// certain are those of words that stand in no id, address, invoice or PSBT by chance. What holds one of them is refused, for it is
	// good for nothing once something is taken out.
	certain []string
}

const (
	shortestSecret = 6 // shorter ones are no secrets and would take words apart
	// shortestToken is how long a token has to be to be certain: payment hashes hold any few digits.
	shortestToken = 8
	// shortestValue is how long a header's value has to be: many are the name of a region or of a tenant, which endpoints hold too.
	shortestValue = 16
)

func newSecrets(config Config) secrets {
	wallet := config.Wallet
	words := []string{config.BearerToken, wallet.XpubVanilla, wallet.XpubColored, wallet.MasterFingerprint}
	var certain []string
	for _, key := range []string{wallet.XpubVanilla, wallet.XpubColored, config.BearerToken} {
		if len(key) >= shortestToken {
			certain = append(certain, key, strings.ToLower(key)) // as a payment hash is kept
		}
	}
	for _, value := range config.Headers {
		words = append(words, value)
		if len(value) >= shortestValue {
			certain = append(certain, value, strings.ToLower(value))
		}
	}
	slices.Sort(certain)
	words = slices.DeleteFunc(words, func(word string) bool { return len(word) < shortestSecret })
	return secrets{redact: redactor(words...), words: words, certain: slices.Compact(certain)}
}

// in reports whether a secret is in text that isPlain. Hex digits as many as a hash has may hold a short one by chance, which counts for
// nothing.
func (s secrets) in(text string) bool {
	const hashLength = 64
	if len(text) >= hashLength {
		return s.holds(text)
	}
	return slices.ContainsFunc(s.words, func(word string) bool { return strings.Contains(text, word) })
}

// holds reports whether text, which is of use only as it is, holds a secret.
func (s secrets) holds(text string) bool {
	return slices.ContainsFunc(s.certain, func(secret string) bool { return strings.Contains(text, secret) })
}

// show is text of the service that is of use only as it is, empty where it cannot be shown.
func (c *Client) show(text string) string {
	if c.secrets.holds(text) {
		return ""
	}
	return visible.FindString(text)
}

var errEchoed = errors.New("the answer repeats the token, a header or a key where an id, an address, an invoice or a PSBT belongs")

// refuseEcho returns the error of an answer that names something new by a text which holds a secret.
func (c *Client) refuseEcho(operation, text string) error {
	if c.secrets.holds(text) {
		return c.unexpected(operation, errEchoed.Error())
	}
	return nil
}

// code is the name that an error was given, unless that is a secret.
func (c *Client) code(name string) string {
	if c.secrets.holds(name) || slices.Contains(c.secrets.words, name) {
		return CodeNodeError
	}
	return name
}
