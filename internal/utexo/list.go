package utexo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var errList = errors.New("the answer is not the documented list, or is cut off")

// decodeList reads a list item by item, so that a large one is not in memory twice: {key: [item, …]} or, where bare allows it,
// [item, …]. An item that cannot be read fails the whole list, for a list that lacks one would be taken for proof that it does not
// exist.
func decodeList[T any](r io.Reader, key string, bare bool, decode func(json.RawMessage) (T, error)) ([]T, error) {
	d := json.NewDecoder(r)
	first, err := d.Token()
	if err != nil {
		return nil, errList
	}
	var items []T
	switch first {
	case json.Delim('['):
		if !bare {
			return nil, errList
		}
		if items, err = decodeItems(d, decode); err != nil {
			return nil, err
		}
	case json.Delim('{'):
		found := false
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, errList
			}
			if name != key {
				var skipped json.RawMessage
				if d.Decode(&skipped) != nil {
					return nil, errList
				}
				continue
			}
			if open, err := d.Token(); found || err != nil || open != json.Delim('[') {
				return nil, errList
			}
			found = true
			if items, err = decodeItems(d, decode); err != nil {
				return nil, err
			}
		}
		if end, err := d.Token(); !found || err != nil || end != json.Delim('}') {
			return nil, errList
		}
	default:
		return nil, errList
	}
	if _, err := d.Token(); err != io.EOF { // also reads a chunked body to its last chunk, without which it is cut off
		return nil, errList
	}
	return items, nil
}

// decodeItems reads the rest of an array whose opening bracket was read. It never returns nil without an error.
func decodeItems[T any](d *json.Decoder, decode func(json.RawMessage) (T, error)) ([]T, error) {
	items := []T{}
	for d.More() {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, errList
		}
		item, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("item %d of the list: %w", len(items), err)
		}
		items = append(items, item)
	}
	if end, err := d.Token(); err != nil || end != json.Delim(']') {
		return nil, errList
	}
	return items, nil
}
