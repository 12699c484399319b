package utexo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/oapi-codegen/nullable"

	"github.com/utexo/utexo-operator/internal/utexo/api"
)

// errNull: the answer is the JSON word null, which is how the service says that it has nothing to say.
var errNull = errors.New("the answer is null")

// whole makes the decoder of a body that is small enough to be held.
func whole[T any](into *T, decode func([]byte) (T, error)) func(io.Reader) error {
	return func(r io.Reader) error {
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		*into, err = decode(body)
		return err
	}
}

// unmarshal reads a body that is one JSON value and nothing more.
func unmarshal[T any](body []byte) (T, error) {
	var value T
	if bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return value, errNull
	}
	err := json.Unmarshal(body, &value)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return value, errors.New("the answer is no JSON, or is cut off")
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return value, fmt.Errorf("the answer is not the documented one: %q is a JSON %s", mismatch.Field, kind(mismatch.Value))
	}
	if err != nil {
		return value, fmt.Errorf("the answer is not the documented one: %w", err)
	}
	return value, nil
}

// kind returns the first word of what encoding/json says of a value: "number 1.5" is a number.
func kind(value string) string {
	name, _, _ := strings.Cut(value, " ")
	return name
}

// identity is what an id of the service may look like: it becomes part of a path and of an object's name.
var identity = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$`)

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// paymentHash returns text as 64 lower-case hex digits, and whether it is a payment hash at all.
func paymentHash(text string) (string, bool) {
	lower := strings.ToLower(text)
	return lower, hexHash.MatchString(lower)
}

// psbtMagic is how every PSBT (BIP 174) begins, in base64.
const psbtMagic = "cHNidP"

func (c *Client) decodePSBT(body []byte) (string, error) {
	text, err := unmarshal[string](body)
	if err != nil {
		return "", err
	}
	if _, err := base64.StdEncoding.DecodeString(text); err != nil || !strings.HasPrefix(text, psbtMagic) {
		return "", errors.New("the answer is not a PSBT in base64")
	}
	if c.secrets.holds(text) {
		return "", errEchoed
	}
	return text, nil
}

// word reads a status in any letter case. A word outside ASCII is none that is known, whatever it folds to.
func word(text string) string {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return ""
		}
	}
	return strings.ToUpper(text)
}

// keep is a word or an identifier of the service as it is kept in a result: clean, and quicker where that changes nothing. A long list is
// made of these.
func (c *Client) keep(text string) string {
	if isPlain(text) && !c.secrets.in(text) {
		return text
	}
	return c.clean(text)
}

// isPlain reports whether clean leaves text, which holds no secret of the client, as it is, without asking it: a short word, or hex digits,
// which hold no key and no PSBT in their spellings.
func isPlain(text string) bool {
	const shortestKey = 24
	hex, word := len(text) <= maxMessage, len(text) < shortestKey && !strings.Contains(text, psbtMagic)
	for i := 0; i < len(text) && (hex || word); i++ {
		c := text[i]
		digit := '0' <= c && c <= '9'
		hex = hex && (digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F')
		word = word && (digit || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_')
	}
	return hex || word
}

// visible is text without spaces and control characters: an address, a BOLT11, an RGB invoice. Whether it is a good one is not for
// this package to say.
var visible = regexp.MustCompile(`^[!-~]+$`)

// optional returns the value of a field that may be absent or null, else nil.
func optional[T any](field nullable.Nullable[T]) *T {
	value, err := field.Get()
	if err != nil {
		return nil
	}
	return &value
}

// optionalInt is optional for an amount, which is absent too where its object left it out.
func optionalInt(field nullable.Nullable[api.Integer]) *int64 {
	value := optional(field)
	if value == nil {
		return nil
	}
	return value.Pointer()
}

func (c *Client) optionalAsset(field nullable.Nullable[api.LightningAsset]) (*Asset, error) {
	value := optional(field)
	if value == nil {
		return nil, nil
	}
	amount, err := value.Amount.Get()
	id := c.keep(value.AssetID)
	if err != nil || id == "" {
		return nil, errors.New("the answer holds an asset without its id or amount")
	}
	return &Asset{ID: id, Amount: amount}, nil
}

func orZero[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
