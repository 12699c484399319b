package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Integer is an int64 of the service's answers that knows whether it was there: the zero value is absent, so that a field which an
// answer leaves out is not taken for an amount of zero.
type Integer struct {
	value   int64
	present bool
}

var errIntegerAbsent = errors.New("a required integer is absent")

// NewInteger returns a present Integer of value v.
func NewInteger(v int64) Integer { return Integer{value: v, present: true} }

// Get returns the value, or an error where the answer did not hold one.
func (i Integer) Get() (int64, error) {
	if !i.present {
		return 0, errIntegerAbsent
	}
	return i.value, nil
}

// Pointer returns a pointer to the value, or nil where the answer did not hold one.
func (i Integer) Pointer() *int64 {
	if !i.present {
		return nil
	}
	return &i.value
}

// UnmarshalJSON takes every spelling of an integer that deployments use: 10, "10" and 10.0. A fraction, an exponent, a sign other
// than minus, and what int64 cannot hold are errors: nothing is rounded. null leaves the Integer absent.
func (i *Integer) UnmarshalJSON(data []byte) error {
	*i = Integer{}
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	text := data
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	whole, fraction, hasFraction := bytes.Cut(text, []byte("."))
	if hasFraction && (len(fraction) == 0 || len(bytes.Trim(fraction, "0")) > 0) {
		return errors.New("an amount is not a whole number")
	}
	if len(whole) == 0 || whole[0] == '+' {
		return errors.New("an amount is not an integer")
	}
	v, err := strconv.ParseInt(string(whole), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("an amount does not fit in 64 bits")
	case err != nil:
		return errors.New("an amount is not an integer") // strconv quotes the text, which is not ours to repeat
	}
	*i = NewInteger(v)
	return nil
}

// MarshalJSON writes a JSON number. An absent Integer is an error: a request says what it means.
func (i Integer) MarshalJSON() ([]byte, error) {
	v, err := i.Get()
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	return strconv.AppendInt(nil, v, 10), nil
}

var (
	_ json.Unmarshaler = (*Integer)(nil)
	_ json.Marshaler   = Integer{}
)
