package utexo

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// Operations, by the operationId of the API's document.
const (
	opRegister        = "registerWallet"
	opBalance         = "getBalance"
	opCreateInvoice   = "createLightningInvoice"
	opReceiveRequest  = "getLightningReceiveRequest"
	opFeeEstimate     = "getLightningSendFeeEstimate"
	opPayInvoiceBegin = "payLightningInvoiceBegin"
	opPayInvoiceEnd   = "payLightningInvoiceEnd"
	opSendRequest     = "getLightningSendRequest"
	opListPayments    = "listLightningPayments"
	opOnchainReceive  = "onchainReceive"
	opUnusedAddresses = "getUnusedDepositAddresses"
	opSettle          = "settle"
	opOnchainBegin    = "onchainSendBegin"
	opOnchainEnd      = "onchainSendEnd"
	opOnchainSend     = "getOnchainSendStatus"
	opListTransfers   = "listOnchainTransfers"

	opListTransactions = "listTransactions"
)

// shape is one of the forms in which the service words an error. They are told apart by their fields, never by the status alone.
type shape int

const (
	shapeNone       shape = iota // no JSON, or not in a documented form
	shapeValidation              // {"detail": [{type, loc, msg}, …]}: the request did not reach the operation
	shapeText                    // {"detail": text}
	shapeNode                    // {"detail": {error, code, name}}: the node's error, wrapped
	shapeLibrary                 // {"error": name, "message", "status"}: the wallet library's
	shapeBare                    // {"error": text} alone
)

// errorBody is an error answer's body, read but not judged.
type errorBody struct {
	shape shape
	name  string // shapeNode, shapeLibrary; empty where it is no identifier
	text  string // not cleaned
	code  int    // the status that the body repeats; 0 where it does not
}

var (
	identifier        = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
	walletDoesntExist = regexp.MustCompile(`^Wallet for client '[^']*' does not exist\.$`)
)

const (
	textWalletNotInitialized = "Wallet not initialized"
	textNoInvoiceBegun       = "No invoice found. Please call /pay-invoice-begin first to create a PSBT."
	textNoPSBTBegun          = "No PSBT found. Please call /withdraw-begin first to create a PSBT."
	textSendNotFound         = "Withdrawal not found"
	textPathNotFound         = "Not Found"
	textMethodNotAllowed     = "Method Not Allowed"
	textNodeUnreachable      = "Failed to communicate with RLN node:"
)

// textCodes names the errors that come as text only. The texts are compared whole: a text that merely contains one is another.
var textCodes = map[string]string{
	textWalletNotInitialized: CodeWalletUnknown,
	textNoInvoiceBegun:       CodeNoInvoiceBegun,
	textNoPSBTBegun:          CodeNoPSBTBegun,
	textSendNotFound:         CodeSendNotFound,
	textPathNotFound:         CodePathNotFound,
	textMethodNotAllowed:     CodeMethodNotAllowed,
}

// readErrorBody recognises the documented shapes. Whatever fits none of them exactly is shapeNone. Fields are looked up by their
// exact names, which a Go struct would not do.
func readErrorBody(body []byte) errorBody {
	fields, ok := read[map[string]json.RawMessage](body)
	if !ok {
		return errorBody{}
	}
	detail, hasDetail := fields["detail"]
	_, hasError := fields["error"]
	switch {
	case hasDetail && !hasError:
		return readDetail(detail)
	case hasError && !hasDetail:
		return readTopLevel(fields)
	}
	return errorBody{}
}

func readDetail(detail json.RawMessage) errorBody {
	if text, ok := read[string](detail); ok {
		return errorBody{shape: shapeText, text: text}
	}
	if items, ok := read[[]map[string]json.RawMessage](detail); ok {
		return readValidation(items)
	}
	fields, _ := read[map[string]json.RawMessage](detail)
	text, hasText := read[string](fields["error"])
	code, hasCode := read[int](fields["code"])
	if !hasText || !hasCode {
		return errorBody{}
	}
	name, _ := read[string](fields["name"])
	if !identifier.MatchString(name) {
		name = ""
	}
	return errorBody{shape: shapeNode, name: name, text: text, code: code}
}

func readValidation(items []map[string]json.RawMessage) errorBody {
	texts := make([]string, 0, len(items))
	for _, item := range items {
		loc, hasLoc := read[[]json.RawMessage](item["loc"])
		msg, hasMsg := read[string](item["msg"])
		if !hasLoc || !hasMsg || len(loc) == 0 {
			return errorBody{}
		}
		path := make([]string, 0, len(loc))
		for _, part := range loc {
			path = append(path, strings.Trim(string(part), `"`))
		}
		if path[0] != "header" && path[0] != "body" {
			return errorBody{}
		}
		texts = append(texts, strings.Join(path, ".")+": "+msg) // never the item's input, which is what was sent
	}
	if len(texts) == 0 {
		return errorBody{}
	}
	return errorBody{shape: shapeValidation, text: strings.Join(texts, "; ")}
}

func readTopLevel(fields map[string]json.RawMessage) errorBody {
	word, ok := read[string](fields["error"])
	if !ok {
		return errorBody{}
	}
	if len(fields) == 1 {
		return errorBody{shape: shapeBare, text: word}
	}
	message, ok := read[string](fields["message"])
	if !ok || !identifier.MatchString(word) {
		return errorBody{}
	}
	status, _ := read[int](fields["status"])
	return errorBody{shape: shapeLibrary, name: word, text: message, code: status}
}

// read decodes one JSON value that is there, of the right type and not null.
func read[T any](data json.RawMessage) (T, bool) {
	var value *T
	if json.Unmarshal(data, &value) != nil || value == nil {
		return *new(T), false
	}
	return *value, true
}

// walletUnknown reports whether an answer says that the service does not know the wallet, which it finds out before it looks at
// anything else but the headers.
func (b errorBody) walletUnknown(status int) bool {
	switch status {
	case http.StatusNotFound:
		return b.shape == shapeBare && walletDoesntExist.MatchString(b.text)
	case http.StatusBadRequest:
		return (b.shape == shapeText || b.shape == shapeBare) && b.text == textWalletNotInitialized
	}
	return false
}

// refusal is one answer that proves that an operation had no effect. word is the name (shapeNode, shapeLibrary) or the whole text
// (shapeText).
type refusal struct {
	status int
	shape  shape
	word   string
}

// refusals lists, for the operations that move money, every answer that the service gives before it does anything; an answer that
// is not in here leaves the effect unknown. To these come the two that precede every operation: a malformed request and an
// unknown wallet.
//
// The wallet library looks at the PSBT before anything is handed to the node. The node's errors listed for a Lightning payment
// are the ones it raises before it stores the payment, and DuplicatePayment: there the payment exists, and this call did not make
// it. None is listed for an on-chain send, which the service begins to carry out before it asks the node.
var refusals = map[string]map[refusal]bool{
	opPayInvoiceEnd: {
		{http.StatusBadRequest, shapeText, textNoInvoiceBegun}:    true,
		{http.StatusBadRequest, shapeLibrary, CodeInvalidPsbt}:    true,
		{http.StatusBadRequest, shapeLibrary, CodeCannotFinalize}: true,
		{http.StatusForbidden, shapeNode, CodeDuplicatePayment}:   true,
		{http.StatusForbidden, shapeNode, "LockedNode"}:           true,
		{http.StatusForbidden, shapeNode, "ChangingState"}:        true,
		{http.StatusBadRequest, shapeNode, "InvalidInvoice"}:      true,
		{http.StatusBadRequest, shapeNode, "InvalidAmount"}:       true,
		{http.StatusBadRequest, shapeNode, "IncompleteRGBInfo"}:   true,
	},
	opOnchainEnd: {
		{http.StatusBadRequest, shapeText, textNoPSBTBegun}:       true,
		{http.StatusBadRequest, shapeLibrary, CodeInvalidPsbt}:    true,
		{http.StatusBadRequest, shapeLibrary, CodeCannotFinalize}: true,
	},
	opSettle: {},
}

// verdict is what an answer other than 200 means.
type verdict struct {
	code   string
	text   string // not cleaned
	effect Effect
	cause  error // a sentinel, or nil
}

// judge classifies an answer other than 200. It never returns EffectNotSent: there was an answer.
func judge(operation string, status int, body []byte) verdict {
	answer := readErrorBody(body)
	v := verdict{code: codeOf(status, answer), text: answer.text}
	if answer.shape == shapeNone {
		v.text = "the body is not an error of the service" // which may be a gateway's page: not quoted
	}
	switch {
	case answer.walletUnknown(status):
		v.cause = ErrWalletNotRegistered
	case v.code == CodePathNotFound, v.code == CodeMethodNotAllowed, status == http.StatusNotImplemented:
		v.cause = ErrNotAvailable
	}
	if isRefusal(operation, status, answer) {
		v.effect = EffectRefused
	}
	return v
}

func isRefusal(operation string, status int, answer errorBody) bool {
	if answer.walletUnknown(status) || status == http.StatusUnprocessableEntity && answer.shape == shapeValidation {
		return true
	}
	if (answer.shape == shapeNode || answer.shape == shapeLibrary) && answer.code != status {
		return false // these repeat the status; a body that contradicts it is nobody's documented answer
	}
	if listed, movesMoney := refusals[operation]; movesMoney {
		word := answer.name
		if answer.shape == shapeText {
			word = answer.text
		}
		return listed[refusal{status, answer.shape, word}]
	}
	// Elsewhere nothing was moved, whatever the answer; what counts is that the service is done with the request.
	switch answer.shape {
	case shapeValidation:
		return status == http.StatusBadRequest
	case shapeText:
		return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed
	case shapeNode, shapeLibrary:
		return status >= 400 && status < 500 && status != http.StatusTooManyRequests
	}
	return false
}

func codeOf(status int, answer errorBody) string {
	switch {
	case status >= 300 && status < 400:
		return CodeRedirected
	case answer.walletUnknown(status):
		return CodeWalletUnknown
	case status == http.StatusMethodNotAllowed:
		return CodeMethodNotAllowed
	}
	switch answer.shape {
	case shapeValidation:
		return CodeValidation
	case shapeText:
		if code, ok := textCodes[answer.text]; ok {
			return code
		}
		if strings.HasPrefix(answer.text, textNodeUnreachable) {
			return CodeNodeUnreachable
		}
		return CodeRequestRejected
	case shapeNode, shapeLibrary:
		if answer.name != "" {
			return answer.name
		}
		return CodeNodeError
	}
	return CodeUnexpectedStatus
}
