package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The reference server validates with FastAPI and Pydantic 2 in lax mode. What follows imitates the part of them that the API's
// bodies reach: objects of integers, strings, booleans and one nested object.

// fields is a JSON object under validation. Violations of all fields are collected, as Pydantic does.
type fields struct {
	loc        []any
	raw        json.RawMessage
	members    map[string]json.RawMessage
	violations *[]violation
}

// message texts of Pydantic 2.
var messages = map[string]string{
	"missing":               "Field required",
	"int_type":              "Input should be a valid integer",
	"int_parsing":           "Input should be a valid integer, unable to parse string as an integer",
	"int_parsing_size":      "Unable to parse input string as an integer, exceeded maximum size",
	"int_from_float":        "Input should be a valid integer, got a number with a fractional part",
	"string_type":           "Input should be a valid string",
	"bool_type":             "Input should be a valid boolean",
	"bool_parsing":          "Input should be a valid boolean, unable to interpret input",
	"model_attributes_type": "Input should be a valid dictionary or object to extract fields from",
}

// parseBody returns the request's JSON object. Violations are appended to out; the object is nil where there is none to look into.
func parseBody(r *http.Request, body []byte, out *[]violation) *fields {
	loc := []any{"body"}
	if len(body) == 0 {
		*out = append(*out, violation{Type: "missing", Loc: loc, Msg: messages["missing"], Input: json.RawMessage("null")})
		return nil
	}
	if contentType := r.Header.Get("Content-Type"); contentType != "" && !isJSON(contentType) {
		// The body reaches the model as text, which is no object.
		text, err := json.Marshal(string(body))
		if err != nil {
			text = json.RawMessage(`""`)
		}
		*out = append(*out, violation{Type: "model_attributes_type", Loc: loc, Msg: messages["model_attributes_type"], Input: text})
		return nil
	}
	if v := syntaxViolation(body); v != nil {
		*out = append(*out, *v)
		return nil
	}
	return newFields(loc, body, out)
}

func isJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json"))
}

func syntaxViolation(body []byte) *violation {
	var value json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(body))
	err := decoder.Decode(&value)
	offset, text := decoder.InputOffset(), "Extra data"
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case isSyntax:
		offset, text = syntax.Offset-1, "Expecting value"
	case err != nil:
		offset, text = int64(len(body)), "Expecting value"
	case len(bytes.TrimSpace(body[offset:])) == 0:
		return nil
	}
	return &violation{
		Type: "json_invalid", Loc: []any{"body", offset}, Msg: "JSON decode error", Input: json.RawMessage("{}"),
		Context: &violationCtx{Error: text},
	}
}

// newFields returns the object raw; nil, with a violation, where raw is none. null at the top is a missing body.
func newFields(loc []any, raw json.RawMessage, out *[]violation) *fields {
	f := &fields{loc: loc, raw: bytes.TrimSpace(raw), violations: out}
	if len(loc) == 1 && string(f.raw) == "null" {
		*out = append(*out, violation{Type: "missing", Loc: loc, Msg: messages["missing"], Input: json.RawMessage("null")})
		return nil
	}
	if err := json.Unmarshal(f.raw, &f.members); err != nil || f.members == nil {
		*out = append(*out, violation{Type: "model_attributes_type", Loc: loc, Msg: messages["model_attributes_type"], Input: f.raw})
		return nil
	}
	return f
}

func (f *fields) violate(kind, name string, input json.RawMessage) {
	loc := append(append([]any{}, f.loc...), name)
	*f.violations = append(*f.violations, violation{Type: kind, Loc: loc, Msg: messages[kind], Input: input})
}

// get returns the member name. A required one that is absent is a violation, whose input is the enclosing object.
func (f *fields) get(name string, required bool) (json.RawMessage, bool) {
	raw, present := f.members[name]
	if !present && required {
		f.violate("missing", name, f.raw)
	}
	return raw, present
}

func (f *fields) text(name string) string {
	raw, present := f.get(name, true)
	if !present {
		return ""
	}
	var value *string
	if err := json.Unmarshal(raw, &value); err != nil || value == nil {
		f.violate("string_type", name, raw)
		return ""
	}
	return *value
}

// integer returns a required integer.
func (f *fields) integer(name string) int64 {
	if raw, present := f.get(name, true); present {
		return f.lax(name, raw)
	}
	return 0
}

// optionalInteger returns nil where the member is absent or null.
func (f *fields) optionalInteger(name string) *int64 {
	raw, present := f.get(name, false)
	if !present || string(raw) == "null" {
		return nil
	}
	value := f.lax(name, raw)
	return &value
}

// integerOr returns fallback where the member is absent; null is a violation, as for every field that has a default but no None.
func (f *fields) integerOr(name string, fallback int64) int64 {
	if raw, present := f.get(name, false); present {
		return f.lax(name, raw)
	}
	return fallback
}

// lax reads an integer as Pydantic's lax mode does: "5000", 5000.0 and true count.
func (f *fields) lax(name string, raw json.RawMessage) int64 {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		value = nil
	}
	kind, text := "int_type", ""
	switch v := value.(type) {
	case bool:
		if v {
			return 1
		}
		return 0
	case json.Number:
		kind, text = "int_from_float", v.String()
	case string:
		kind, text = "int_parsing", strings.TrimSpace(v)
	}
	if text != "" {
		number, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			return number
		}
		if errors.Is(err, strconv.ErrRange) {
			kind = "int_parsing_size"
		} else if number, err := strconv.ParseFloat(text, 64); err == nil && number == math.Trunc(number) && math.Abs(number) < 1<<53 {
			return int64(number)
		}
	}
	f.violate(kind, name, raw)
	return 0
}

func (f *fields) boolOr(name string, fallback bool) bool {
	raw, present := f.get(name, false)
	if !present {
		return fallback
	}
	switch strings.ToLower(string(raw)) {
	case "true", "1", "1.0", `"true"`, `"1"`, `"t"`, `"yes"`, `"y"`, `"on"`:
		return true
	case "false", "0", "0.0", `"false"`, `"0"`, `"f"`, `"no"`, `"n"`, `"off"`:
		return false
	}
	if kind := raw[0]; kind == '"' || kind >= '0' && kind <= '9' || kind == '-' {
		f.violate("bool_parsing", name, raw)
	} else {
		f.violate("bool_type", name, raw)
	}
	return fallback
}

// asset returns the nested object; nil where it is absent or null.
func (f *fields) asset() *Asset {
	raw, present := f.get("asset", false)
	if !present || string(raw) == "null" {
		return nil
	}
	nested := newFields(append(append([]any{}, f.loc...), "asset"), raw, f.violations)
	if nested == nil {
		return nil
	}
	return &Asset{ID: nested.text("asset_id"), Amount: nested.integer("amount")}
}
