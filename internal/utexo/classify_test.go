package utexo

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	bodyUnregistered    = `{"error":"Wallet for client 'tpubDDM' does not exist."}`
	bodyNotInitialized  = `{"detail":"Wallet not initialized"}`
	bodyNoInvoice       = `{"detail":"No invoice found. Please call /pay-invoice-begin first to create a PSBT."}`
	bodyNoPSBT          = `{"detail":"No PSBT found. Please call /withdraw-begin first to create a PSBT."}`
	bodyDuplicate       = `{"detail":{"error":"Payment is already in status Succeeded","code":403,"name":"DuplicatePayment"}}`
	bodyPaymentNotFound = `{"detail":{"error":"Payment not found: 6c5e","code":403,"name":"PaymentNotFound"}}`
	bodyMissingHeader   = `{"detail":[{"type":"missing","loc":["header","xpub-van"],"msg":"Field required","input":null}]}`
)

// result is what judge makes of an answer, in words.
type result struct{ Code, Read, Begin, PayEnd, OnchainEnd string }

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   result // Read is Settle's too where it differs it has a case of its own below
	}{
		"a missing header": {
			422, bodyMissingHeader,
			result{CodeValidation, "Refused", "Refused", "Refused", "Refused"},
		},
		"two body fields at once": {
			422,
			`{"detail":[{"type":"missing","loc":["body","asset","amount"],"msg":"Field required","input":{"asset_id":"x"}},{"type":"int_parsing","loc":["body","fee_rate"],"msg":"Input should be a valid integer","input":"x"}]}`,
			result{CodeValidation, "Refused", "Refused", "Refused", "Refused"},
		},
		"bad JSON": {
			422,
			`{"detail":[{"type":"json_invalid","loc":["body",17],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}`,
			result{CodeValidation, "Refused", "Refused", "Refused", "Refused"},
		},
		"a malformed request of a deployment that answers 400": {
			400, bodyMissingHeader,
			result{CodeValidation, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a validation error of no place in the request": {
			422, `{"detail":[{"loc":["query","a"],"msg":"Field required"}]}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"an empty list of errors": {
			422, `{"detail":[]}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a validation error without loc": {
			422, `{"detail":[{"msg":"Field required"}]}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a validation error under another status": {
			500, bodyMissingHeader,
			result{CodeValidation, "Unknown", "Unknown", "Unknown", "Unknown"},
		},

		"an invoice without amount": {
			400, `{"detail":"amount_sats is required for BTC invoices"}`,
			result{CodeRequestRejected, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"an RGB invoice without asset": {
			400, `{"detail":"asset is required when address_or_rgbinvoice is an RGB invoice"}`,
			result{CodeRequestRejected, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a pay end without begin": {
			400, bodyNoInvoice,
			result{CodeNoInvoiceBegun, "Refused", "Refused", "Refused", "Unknown"},
		},
		"an on-chain end without begin": {
			400, bodyNoPSBT,
			result{CodeNoPSBTBegun, "Refused", "Refused", "Unknown", "Refused"},
		},
		"a text that only begins like it": {
			400, `{"detail":"No invoice found. Please call /pay-invoice-begin first to create a PSBT. Or not."}`,
			result{CodeRequestRejected, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"the text under another status": {
			500, bodyNoInvoice,
			result{CodeNoInvoiceBegun, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a path that is not served": {
			404, `{"detail":"Not Found"}`,
			result{CodePathNotFound, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"an unknown on-chain send": {
			404, `{"detail":"Withdrawal not found"}`,
			result{CodeSendNotFound, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a method that is not served": {
			405, `{"detail":"Method Not Allowed"}`,
			result{CodeMethodNotAllowed, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a method that the node does not serve": {
			405, `{"detail":{"error":"Method Not Allowed","code":405}}`,
			result{CodeMethodNotAllowed, "Refused", "Refused", "Unknown", "Unknown"},
		},

		"an unknown wallet": {
			404, bodyUnregistered,
			result{CodeWalletUnknown, "Refused", "Refused", "Refused", "Refused"},
		},
		"an unknown wallet, as documented": {
			400, bodyNotInitialized,
			result{CodeWalletUnknown, "Refused", "Refused", "Refused", "Refused"},
		},
		"an unknown wallet under another status": {
			500, bodyUnregistered,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a bare error of another text": {
			404, `{"error":"no such thing"}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},

		"too little bitcoin": {
			422, `{"error":"InsufficientBitcoins","message":"needed=1 available=0","status":422}`,
			result{"InsufficientBitcoins", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"an unknown asset": {
			404, `{"error":"AssetNotFound","message":"asset not found","status":404}`,
			result{CodeAssetNotFound, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a file that exists": {
			409, `{"error":"FileAlreadyExists","message":"x","status":409}`,
			result{"FileAlreadyExists", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a wallet that has to sync": {
			428, `{"error":"SyncNeeded","message":"x","status":428}`,
			result{"SyncNeeded", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a PSBT that does not parse": {
			400, `{"error":"InvalidPsbt","message":"x","status":400}`,
			result{CodeInvalidPsbt, "Refused", "Refused", "Refused", "Refused"},
		},
		"an unsigned PSBT": {
			400, `{"error":"CannotFinalizePsbt","message":"x","status":400}`,
			result{CodeCannotFinalize, "Refused", "Refused", "Refused", "Refused"},
		},
		"an unsigned PSBT, without the status repeated": {
			400, `{"error":"CannotFinalizePsbt","message":"x"}`,
			result{CodeCannotFinalize, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"an unsigned PSBT that contradicts its status": {
			400, `{"error":"CannotFinalizePsbt","message":"x","status":500}`,
			result{CodeCannotFinalize, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"too few allocations": {
			400, `{"error":"InsufficientAssignments","message":"x","status":400}`,
			result{"InsufficientAssignments", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"the wallet library's own failure": {
			500, `{"error":"Internal","message":"x","status":500}`,
			result{"Internal", "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"the server's own failure": {
			500, `{"error":"InternalServerError","message":"[Manager] An unexpected error occurred. Please try again later."}`,
			result{CodeInternalError, "Unknown", "Unknown", "Unknown", "Unknown"},
		},

		"a payment that exists": {
			403, bodyDuplicate,
			result{CodeDuplicatePayment, "Refused", "Refused", "Refused", "Unknown"},
		},
		"a payment that exists, by a name at the top level": {
			403, `{"error":"DuplicatePayment","message":"x","status":403}`,
			result{CodeDuplicatePayment, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"an unknown payment": {
			403, bodyPaymentNotFound,
			result{CodePaymentNotFound, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a locked node": {
			403, `{"detail":{"error":"Node is locked","code":403,"name":"LockedNode"}}`,
			result{"LockedNode", "Refused", "Refused", "Refused", "Unknown"},
		},
		"a node that changes state": {
			403, `{"detail":{"error":"x","code":403,"name":"ChangingState"}}`,
			result{"ChangingState", "Refused", "Refused", "Refused", "Unknown"},
		},
		"an invoice without amount, at the node": {
			400, `{"detail":{"error":"x","code":400,"name":"InvalidAmount"}}`,
			result{"InvalidAmount", "Refused", "Refused", "Refused", "Unknown"},
		},
		"an invoice that the node cannot read": {
			400, `{"detail":{"error":"x","code":400,"name":"InvalidInvoice"}}`,
			result{"InvalidInvoice", "Refused", "Refused", "Refused", "Unknown"},
		},
		"no route, which the node may find out late": {
			403, `{"detail":{"error":"x","code":403,"name":"NoRoute"}}`,
			result{"NoRoute", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a wrong password of the node": {
			401, `{"detail":{"error":"x","code":401,"name":"WrongPassword"}}`,
			result{"WrongPassword", "Refused", "Refused", "Unknown", "Unknown"},
		},
		"a failed payment": {
			500, `{"detail":{"error":"x","code":500,"name":"FailedPayment"}}`,
			result{"FailedPayment", "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a network error of the node": {
			503, `{"detail":{"error":"x","code":503,"name":"Network"}}`,
			result{"Network", "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a duplicate whose code contradicts the status": {
			500, bodyDuplicate,
			result{CodeDuplicatePayment, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a node error without name": {
			502, `{"detail":{"error":"Bad Gateway","code":502}}`,
			result{CodeNodeError, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"a node error whose name is no word": {
			403, `{"detail":{"error":"x","code":403,"name":"<b>"}}`,
			result{CodeNodeError, "Refused", "Refused", "Unknown", "Unknown"},
		},
		"field names in capitals": {
			403, `{"detail":{"ERROR":"x","CODE":403,"NAME":"DuplicatePayment"}}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"both detail and error": {
			403, `{"detail":{"error":"x","code":403,"name":"DuplicatePayment"},"error":"x"}`,
			result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"},
		},

		"an unreachable node": {
			500, `{"detail":"Failed to communicate with RLN node: "}`,
			result{CodeNodeUnreachable, "Unknown", "Unknown", "Unknown", "Unknown"},
		},
		"an unreachable node, with a reason": {
			500, `{"detail":"Failed to communicate with RLN node: connection refused"}`,
			result{CodeNodeUnreachable, "Unknown", "Unknown", "Unknown", "Unknown"},
		},

		"an empty 500":              {500, ``, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a gateway's page":          {502, `<html><h1>502 Bad Gateway</h1></html>`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a gateway's text":          {503, `upstream connect error`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"too many requests":         {429, `{"detail":"slow down"}`, result{CodeRequestRejected, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"too many, by name":         {429, `{"detail":{"error":"x","code":429,"name":"Busy"}}`, result{"Busy", "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a firewall":                {403, `{"message":"forbidden"}`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a gateway's login":         {401, `{"detail":"Unauthorized"}`, result{CodeRequestRejected, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a redirect":                {307, ``, result{CodeRedirected, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a redirect with a body":    {308, bodyNoInvoice, result{CodeRedirected, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"created":                   {201, `{"id":"x"}`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"no content":                {204, ``, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"null":                      {400, `null`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"detail is null":            {400, `{"detail":null}`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"an array":                  {400, `[]`, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a refusal that is cut off": {400, bodyNoInvoice[:40], result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
		"a refusal and more":        {400, bodyNoInvoice + bodyNoInvoice, result{CodeUnexpectedStatus, "Unknown", "Unknown", "Unknown", "Unknown"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			effect := func(operation string) string { return judge(operation, tc.status, []byte(tc.body)).effect.String() }
			got := result{
				Code:       judge(opBalance, tc.status, []byte(tc.body)).code,
				Read:       effect(opBalance),
				Begin:      effect(opPayInvoiceBegin),
				PayEnd:     effect(opPayInvoiceEnd),
				OnchainEnd: effect(opOnchainEnd),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("judge(%d, %s) (-want +got):\n%s", tc.status, tc.body, diff)
			}
			if begin := effect(opOnchainBegin); begin != got.Begin {
				t.Errorf("the two begins differ: %s and %s", got.Begin, begin)
			}
		})
	}
}

func TestSettleIsRefusedOnlyBeforeItBegins(t *testing.T) {
	for body, want := range map[string]Effect{
		bodyMissingHeader: EffectRefused,
		bodyUnregistered:  EffectRefused,
		`{"error":"AssetNotFound","message":"x","status":404}`: EffectUnknown,
	} {
		status := http.StatusNotFound
		if body == bodyMissingHeader {
			status = http.StatusUnprocessableEntity
		}
		if got := judge(opSettle, status, []byte(body)).effect; got != want {
			t.Errorf("judge(settle, %d, %s) = %v, want %v", status, body, got, want)
		}
	}
}

func TestErrorOfAnAnswer(t *testing.T) {
	long := strings.Repeat("too long ", 60)
	tests := map[string]struct {
		status        int
		body          string
		wantText      string
		wantTemporary bool
		wantFunds     bool
	}{
		"validation names places and reasons, not what was sent": {
			422, `{"detail":[{"loc":["body","asset","amount"],"msg":"Field required","input":{"signed_psbt":"SECRET"}},{"loc":["body",17],"msg":"JSON decode error"}]}`,
			"getBalance: HTTP 422: Validation: body.asset.amount: Field required; body.17: JSON decode error", false, false,
		},
		"a node's error": {
			403, bodyDuplicate, "getBalance: HTTP 403: DuplicatePayment: Payment is already in status Succeeded", false, false,
		},
		"a locked node passes": {
			403, `{"detail":{"error":"Node is locked","code":403,"name":"LockedNode"}}`, "getBalance: HTTP 403: LockedNode: Node is locked", true, false,
		},
		"too little money does not pass by itself": {
			422, `{"error":"InsufficientBitcoins","message":"needed=1","status":422}`, "getBalance: HTTP 422: InsufficientBitcoins: needed=1", false, true,
		},
		"a page is not quoted": {
			502, `<html><script>alert(1)</script></html>`, "getBalance: HTTP 502: UnexpectedStatus: the body is not an error of the service", true, false,
		},
		"markup is taken out": {
			400, `{"detail":"<b>bad</b> <img src=x onerror=alert(1)>request <unclosed"}`, "getBalance: HTTP 400: RequestRejected: bad request", false, false,
		},
		"control and direction characters are taken out": {
			400, `{"detail":"one\r\ntwo\u0000\u001b[31m\u202Ethree\ttab"}`, "getBalance: HTTP 400: RequestRejected: one two[31mthree tab", false, false,
		},
		"a long one is cut": {
			400, fmt.Sprintf(`{"detail":%q}`, long), "getBalance: HTTP 400: RequestRejected: " + long[:maxMessage-3] + "…", false, false,
		},
		"a cut does not split a letter": {
			400, `{"detail":"` + strings.Repeat("ä", 150) + `"}`, "getBalance: HTTP 400: RequestRejected: " + strings.Repeat("ä", 98) + "…", false, false,
		},
		"not implemented does not pass": {501, ``, "getBalance: HTTP 501: UnexpectedStatus: the body is not an error of the service", false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, answering(t, tc.status, tc.body).URL)
			_, err := client.Balance(t.Context())
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("Balance error = %v, want an *Error", err)
			}
			if diff := cmp.Diff(tc.wantText, e.Error()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if got := e.Temporary(); got != tc.wantTemporary {
				t.Errorf("Temporary = %t, want %t", got, tc.wantTemporary)
			}
			if got := e.InsufficientFunds(); got != tc.wantFunds {
				t.Errorf("InsufficientFunds = %t, want %t", got, tc.wantFunds)
			}
		})
	}
}

// FuzzClassifyEnd holds the classification of answers to the two calls that move money against a second reading of what is listed.
func FuzzClassifyEnd(f *testing.F) {
	for _, body := range []string{
		bodyUnregistered, bodyNotInitialized, bodyNoInvoice, bodyNoPSBT, bodyDuplicate, bodyPaymentNotFound, bodyMissingHeader,
		`{"error":"CannotFinalizePsbt","message":"x","status":400}`, `{"detail":"Failed to communicate with RLN node: "}`, ``, `null`, `{}`,
	} {
		for _, status := range []int{200, 307, 400, 403, 404, 422, 429, 500, 503} {
			f.Add(true, status, []byte(body))
			f.Add(false, status, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, onchain bool, status int, body []byte) {
		operation := opPayInvoiceEnd
		if onchain {
			operation = opOnchainEnd
		}
		v := judge(operation, status, body)
		if v.effect == EffectNotSent {
			t.Fatal("an answer proves that something was sent")
		}
		if v.effect != EffectRefused {
			return
		}
		// Each refusal needs its status and its words; the test looks for them without reading JSON.
		text := strings.ToLower(unescaped(body))
		says := func(words ...string) bool {
			for _, w := range words {
				if !strings.Contains(text, strings.ToLower(w)) {
					return false
				}
			}
			return true
		}
		listed := false
		switch status {
		case http.StatusBadRequest:
			listed = says(textWalletNotInitialized) || says("error", "message", "status", "400", CodeInvalidPsbt) ||
				says("error", "message", "status", "400", CodeCannotFinalize) || onchain && says(textNoPSBTBegun) ||
				!onchain && (says(textNoInvoiceBegun) || says("400", "InvalidInvoice") || says("400", "InvalidAmount") || says("400", "IncompleteRGBInfo"))
		case http.StatusForbidden:
			listed = !onchain && (says("403", "DuplicatePayment") || says("403", "LockedNode") || says("403", "ChangingState"))
		case http.StatusNotFound:
			listed = says("Wallet for client '", "' does not exist.")
		case http.StatusUnprocessableEntity:
			listed = says("detail", "loc", "msg") && (says("header") || says("body"))
		}
		if !listed {
			t.Fatalf("judge(%s, %d, %q) is Refused", operation, status, body)
		}
	})
}

// unescaped undoes JSON's \u and \/ escapes, roughly: enough to find words.
func unescaped(body []byte) string {
	fields, ok := read[any](body)
	if !ok {
		return string(body)
	}
	return fmt.Sprint(fields)
}
