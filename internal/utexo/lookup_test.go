package utexo

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPresence(t *testing.T) {
	const (
		id          = "0d6f2a3c-1f8e-4a53-9d8f-2a7f3f1f8a55"
		libraryGone = `{"error":"NotFound","message":"x","status":404}`
	)
	type outcome struct {
		Presence string
		IsError  bool
	}
	var (
		present      = outcome{"Present", false}
		absent       = outcome{"Absent", false}
		unknown      = outcome{"Unknown", false}
		unknownError = outcome{"Unknown", true}
	)
	tests := map[string]struct {
		status                 int
		body                   string
		receive, send, onchain outcome
	}{
		"null": {200, `null`, absent, unknown, unknown},
		"what was asked for": {
			200, `{"id":"` + id + `","send_id":"` + id + `","status":"x","invoice":"lnbcrt1"}`,
			present, unknownError, present,
		},
		"a payment": {200, `{"id":"` + testHash + `","status":"PENDING"}`, unknownError, present, present},
		"a payment whose hash is in capitals": {
			200, `{"id":"6C5E9D6B5A3C6C4A5C3C4E2C7D8F9A0B1C2D3E4F5061728394A5B6C7D8E9F001","status":"PENDING"}`,
			unknownError, present, present,
		},
		"another one": {
			200, `{"id":"00000000000000000000000000000000000000000000000000000000000000ff","withdrawal_id":"9","status":"x","invoice":"lnbcrt1"}`,
			unknownError, unknownError, unknownError,
		},
		"an empty object": {200, `{}`, unknownError, unknownError, unknownError},
		"an empty list":   {200, `[]`, unknownError, unknownError, unknownError},
		"a word":          {200, `"PENDING"`, unknownError, unknownError, unknownError},
		"a page":          {200, `<html>`, unknownError, unknownError, unknownError},
		"nothing":         {200, ``, unknownError, unknownError, unknownError},

		"the node has no such payment":               {403, bodyPaymentNotFound, unknownError, absent, unknownError},
		"the node has no such invoice":               {403, `{"detail":{"error":"x","code":403,"name":"UnknownLNInvoice"}}`, absent, unknownError, unknownError},
		"the node is locked":                         {403, `{"detail":{"error":"x","code":403,"name":"LockedNode"}}`, unknownError, unknownError, unknownError},
		"a firewall":                                 {403, `forbidden`, unknownError, unknownError, unknownError},
		"the name, yet another code":                 {403, `{"detail":{"error":"x","code":500,"name":"PaymentNotFound"}}`, unknownError, unknownError, unknownError},
		"the name, yet 500":                          {500, `{"detail":{"error":"x","code":500,"name":"PaymentNotFound"}}`, unknownError, unknownError, unknownError},
		"the name as a text":                         {403, `{"detail":"PaymentNotFound"}`, unknownError, unknownError, unknownError},
		"not a payment hash":                         {400, `{"detail":{"error":"x","code":400,"name":"InvalidPaymentHash"}}`, unknownError, unknownError, unknownError},
		"no such send":                               {404, `{"detail":"Withdrawal not found"}`, absent, unknown, absent},
		"no such thing, in a deployment's own words": {404, `{"detail":"Request 1 not found"}`, absent, unknown, unknownError},
		"no such thing, by name":                     {404, libraryGone, absent, unknown, unknownError},
		"no such path":                               {404, `{"detail":"Not Found"}`, unknownError, unknownError, unknownError},
		"no such page":                               {404, `<h1>404</h1>`, unknownError, unknownError, unknownError},
		"no such wallet":                             {404, bodyUnregistered, unknownError, unknownError, unknownError},
		"no such method":                             {405, `{"detail":"Method Not Allowed"}`, unknownError, unknownError, unknownError},
		"gone":                                       {410, `{"detail":"gone"}`, unknownError, unknownError, unknownError},
		"the node does not answer":                   {500, `{"detail":"Failed to communicate with RLN node: "}`, unknownError, unknownError, unknownError},
		"a proxy":                                    {502, `<html>`, unknownError, unknownError, unknownError},
		"a redirect":                                 {302, ``, unknownError, unknownError, unknownError},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, answering(t, tc.status, tc.body).URL)
			_, receive, receiveErr := client.ReceiveRequest(t.Context(), id)
			_, send, sendErr := client.SendRequest(t.Context(), testHash)
			_, onchain, onchainErr := client.OnchainSend(t.Context(), id)
			got := []outcome{{receive.String(), receiveErr != nil}, {send.String(), sendErr != nil}, {onchain.String(), onchainErr != nil}}
			if diff := cmp.Diff([]outcome{tc.receive, tc.send, tc.onchain}, got); diff != "" {
				t.Errorf("HTTP %d %s: receive, send, on-chain (-want +got):\n%s", tc.status, tc.body, diff)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		client := newTestClient(t, "http://127.0.0.1:1")
		_, presence, err := client.SendRequest(t.Context(), testHash)
		if failed, ok := errors.AsType[*Error](err); presence != PresenceUnknown || !ok || !failed.Temporary() {
			t.Errorf("SendRequest = %v, %v, want unknown and a transient error", presence, err)
		}
	})
}

func TestOnchainSendFindsItsPath(t *testing.T) {
	const send = `{"withdrawal_id":"7","status":"SWEEPING_OUTPUTS"}`
	served := "/lightning/onchain-send/7"
	status, body := http.StatusOK, send
	var asked []string
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path != served {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"detail":"Not Found"}`)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	client := newTestClient(t, server.URL)
	const documented, reference = "/onchain-send/7", "/lightning/onchain-send/7"
	steps := []struct {
		name         string
		change       func()
		wantPresence Presence
		wantAsked    []string
		wantErr      error
	}{
		{
			"an unclear answer teaches nothing", func() { status, body = http.StatusInternalServerError, "" },
			PresenceUnknown,
			[]string{documented, reference},
			nil,
		},
		{
			"the first time both are tried", func() { status, body = http.StatusOK, send },
			Present,
			[]string{documented, reference},
			nil,
		},
		{"then the one that answered", nil, Present, []string{reference}, nil},
		{
			"also for what it does not know", func() { status, body = http.StatusNotFound, `{"detail":"Withdrawal not found"}` },
			Absent,
			[]string{reference},
			nil,
		},
		{
			"after a change of the deployment both", func() { status, body, served = http.StatusOK, send, documented },
			Present,
			[]string{reference, documented},
			nil,
		},
		{"then the documented one", nil, Present, []string{documented}, nil},
		{
			"where neither is served there is none", func() { served = "" },
			PresenceUnknown,
			[]string{documented, reference},
			ErrNotAvailable,
		},
	}
	for _, step := range steps {
		if step.change != nil {
			step.change()
		}
		asked = nil
		got, presence, err := client.OnchainSend(t.Context(), "7")
		if presence != step.wantPresence || step.wantErr != nil && !errors.Is(err, step.wantErr) {
			t.Errorf("%s: OnchainSend = %v, %v, want %v, %v", step.name, presence, err, step.wantPresence, step.wantErr)
		}
		if presence == Present && got.ID != "7" {
			t.Errorf("%s: id = %q", step.name, got.ID)
		}
		if diff := cmp.Diff(step.wantAsked, asked); diff != "" {
			t.Errorf("%s: paths (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestNotAvailable(t *testing.T) {
	lists := map[string]func(*testing.T, *Client) error{
		"EachPayment": func(t *testing.T, c *Client) error {
			_, err := listPayments(t.Context(), c)
			return err
		},
		"ListTransfers": func(t *testing.T, c *Client) error {
			_, err := c.ListTransfers(t.Context(), "rgb:x")
			return err
		},
		"UnusedAddresses": func(t *testing.T, c *Client) error {
			_, err := c.UnusedAddresses(t.Context())
			return err
		},
	}
	tests := map[string]struct {
		status int
		body   string
		want   bool
	}{
		"the node's 405":      {405, `{"detail":{"error":"Method Not Allowed","code":405}}`, true},
		"the server's 405":    {405, `{"detail":"Method Not Allowed"}`, true},
		"a gateway's 405":     {405, ``, true},
		"a path-404":          {404, `{"detail":"Not Found"}`, true},
		"a gateway's 404":     {404, `<html>`, true},
		"not implemented":     {501, ``, true},
		"an unknown wallet":   {404, bodyUnregistered, false},
		"an unknown asset":    {404, `{"error":"AssetNotFound","message":"x","status":404}`, false},
		"a failure":           {500, ``, false},
		"a firewall":          {403, ``, false},
		"an unreadable list":  {200, `{"payments":[{}],"transfers":[{}],"addresses":[{}]}`, false},
		"a list that is null": {200, `null`, false},
	}
	for name, tc := range tests {
		for list, call := range lists {
			t.Run(name+", "+list, func(t *testing.T) {
				err := call(t, newTestClient(t, answering(t, tc.status, tc.body).URL))
				if err == nil || errors.Is(err, ErrNotAvailable) != tc.want {
					t.Errorf("error = %v, want one that is ErrNotAvailable: %t", err, tc.want)
				}
			})
		}
	}
}
