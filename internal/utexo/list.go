package utexo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var errList = errors.New("the answer is not the documented list, or is cut off")

// decodeList reads a list item by item, so that a large one is not in memory twice. An item that cannot be read fails the whole list,
// for a list that lacks one would be taken for proof that it does not exist. It never returns nil without an error.
func decodeList[T any](r io.Reader, key string, bare bool, decode func(json.RawMessage) (T, error)) ([]T, error) {
	items := []T{}
	err := eachItem(r, key, bare, decode, func(item T) { items = append(items, item) })
	if err != nil {
		return nil, err
	}
	return items, nil
}

// eachItem reads a list and visits its items one by one, before it is known that the list is whole: {key: [item, …]} or, where bare
// allows it, [item, …].
func eachItem[T any](r io.Reader, key string, bare bool, decode func(json.RawMessage) (T, error), visit func(T)) error {
	d := json.NewDecoder(r)
	first, err := d.Token()
	if err != nil {
		return errList
	}
	switch first {
	case json.Delim('['):
		if !bare {
			return errList
		}
		if err := eachOf(d, decode, visit); err != nil {
			return err
		}
	case json.Delim('{'):
		found := false
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return errList
			}
			if name != key {
				var skipped json.RawMessage
				if d.Decode(&skipped) != nil {
					return errList
				}
				continue
			}
			if open, err := d.Token(); found || err != nil || open != json.Delim('[') {
				return errList
			}
			found = true
			if err := eachOf(d, decode, visit); err != nil {
				return err
			}
		}
		if end, err := d.Token(); !found || err != nil || end != json.Delim('}') {
			return errList
		}
	default:
		return errList
	}
	if _, err := d.Token(); err != io.EOF { // also reads a chunked body to its last chunk, without which it is cut off
		return errList
	}
	return nil
}

// eachOf reads the rest of an array whose opening bracket was read.
func eachOf[T any](d *json.Decoder, decode func(json.RawMessage) (T, error), visit func(T)) error {
	var raw json.RawMessage // whose memory each item uses again
	for n := 0; d.More(); n++ {
		if d.Decode(&raw) != nil {
			return errList
		}
		item, err := decode(raw)
		if err != nil {
			return fmt.Errorf("item %d of the list: %w", n, err)
		}
		visit(item)
	}
	if end, err := d.Token(); err != nil || end != json.Delim(']') {
		return errList
	}
	return nil
}
