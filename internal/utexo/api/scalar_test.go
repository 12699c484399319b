package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestIntegerUnmarshalJSON(t *testing.T) {
	tests := map[string]struct {
		json        string
		want        int64
		wantErr     bool
		wantPresent bool
	}{
		"a number":                              {json: `10`, want: 10, wantPresent: true},
		"zero is present":                       {json: `0`, want: 0, wantPresent: true},
		"a negative number":                     {json: `-10`, want: -10, wantPresent: true},
		"a quoted number":                       {json: `"10"`, want: 10, wantPresent: true},
		"a whole number with a fraction of 0":   {json: `10.0`, want: 10, wantPresent: true},
		"the same in quotes":                    {json: `"10.000"`, want: 10, wantPresent: true},
		"the largest":                           {json: `9223372036854775807`, want: 9223372036854775807, wantPresent: true},
		"the smallest":                          {json: `-9223372036854775808`, want: -9223372036854775808, wantPresent: true},
		"above 2^53 it is exact":                {json: `9007199254740993`, want: 9007199254740993, wantPresent: true},
		"null is absent":                        {json: `null`},
		"a fraction is refused":                 {json: `10.5`, wantErr: true},
		"a quoted fraction is refused":          {json: `"0.1"`, wantErr: true},
		"an exponent is refused":                {json: `1e3`, wantErr: true},
		"one too large is refused":              {json: `9223372036854775808`, wantErr: true},
		"an empty string is refused":            {json: `""`, wantErr: true},
		"a plus sign is refused":                {json: `"+10"`, wantErr: true},
		"a space is refused":                    {json: `" 10"`, wantErr: true},
		"digit separators are refused":          {json: `"1_000"`, wantErr: true},
		"a trailing point is refused":           {json: `"10."`, wantErr: true},
		"a fraction without whole is refused":   {json: `".0"`, wantErr: true},
		"true is refused":                       {json: `true`, wantErr: true},
		"an object is refused":                  {json: `{}`, wantErr: true},
		"a hexadecimal number is refused":       {json: `"0x10"`, wantErr: true},
		"a number with a word is refused":       {json: `"10 sat"`, wantErr: true},
		"a lone quote inside quotes is refused": {json: `"\""`, wantErr: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got Integer
			err := json.Unmarshal([]byte(tc.json), &got)
			if (err != nil) != tc.wantErr {
				t.Fatalf("Unmarshal(%s) error = %v, want error %t", tc.json, err, tc.wantErr)
			}
			value, err := got.Get()
			if (err == nil) != tc.wantPresent || value != tc.want {
				t.Errorf("Get() = %d, %v, want %d, present %t", value, err, tc.want, tc.wantPresent)
			}
		})
	}
}

func TestIntegerMarshalJSON(t *testing.T) {
	got, err := json.Marshal(NewInteger(-42))
	if err != nil || string(got) != "-42" {
		t.Errorf("Marshal = %s, %v, want -42", got, err)
	}
	if got, err := json.Marshal(Integer{}); err == nil {
		t.Errorf("Marshal of an absent integer = %s, want an error", got)
	}
}

func TestInstantUnmarshalJSON(t *testing.T) {
	second := time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		json string
		want time.Time
	}{
		"RFC 3339":                     {json: `"2026-01-08T12:00:00Z"`, want: second},
		"with microseconds":            {json: `"2026-01-08T12:00:00.847838Z"`, want: second.Add(847838 * time.Microsecond)},
		"with an offset":               {json: `"2026-01-08T13:00:00+01:00"`, want: second},
		"without a zone":               {json: `"2026-01-08T12:00:00.5"`, want: second.Add(500 * time.Millisecond)},
		"Unix seconds":                 {json: `1767873600`, want: second},
		"quoted Unix seconds":          {json: `"1767873600"`, want: second},
		"Unix seconds with a fraction": {json: `1767873600.25`, want: second},
		"null":                         {json: `null`},
		"zero":                         {json: `0`},
		"milliseconds are not guessed": {json: `1767873600000000`},
		"a word":                       {json: `"yesterday"`},
		"an object":                    {json: `{}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := Instant{Time: time.Unix(1, 0)}
			if err := json.Unmarshal([]byte(tc.json), &got); err != nil {
				t.Fatalf("Unmarshal(%s): %v", tc.json, err)
			}
			if !got.Equal(tc.want) {
				t.Errorf("Unmarshal(%s) = %v, want %v", tc.json, got.Time, tc.want)
			}
		})
	}
}

func FuzzInteger(f *testing.F) {
	for _, seed := range []string{`10`, `"10"`, `10.0`, `1e3`, `-0`, `9223372036854775808`, `null`, `""`, `"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first Integer
		if err := json.Unmarshal(data, &first); err != nil {
			return
		}
		value, err := first.Get()
		if err != nil {
			return
		}
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("Marshal(%d): %v", value, err)
		}
		var second Integer
		if err := json.Unmarshal(encoded, &second); err != nil || second != first {
			t.Fatalf("%q is %d, which encodes to %s and decodes to %v, %v", data, value, encoded, second, err)
		}
	})
}
