package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// answer is what the service says: a status and a JSON body, nil for null.
type answer struct {
	status int
	body   any
	header http.Header
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// detailError is a request error: {"detail": text}.
func detailError(status int, text string) answer {
	return answer{status: status, body: struct {
		Detail string `json:"detail"`
	}{text}}
}

// errNoWallet is the only error of the reference server that has neither a detail nor a message.
func errNoWallet(xpub string) answer {
	return answer{status: http.StatusNotFound, body: struct {
		Error string `json:"error"`
	}{fmt.Sprintf("Wallet for client '%s' does not exist.", xpub)}}
}

// libraryErrors gives the statuses of the wallet library's errors that are not 400.
var libraryErrors = map[string]int{
	"InsufficientBitcoins": http.StatusUnprocessableEntity,
	"InvalidAmountZero":    http.StatusUnprocessableEntity,
	"AssetNotFound":        http.StatusNotFound,
	"FileAlreadyExists":    http.StatusConflict,
	"SyncNeeded":           http.StatusPreconditionRequired,
	"Internal":             http.StatusInternalServerError,
}

// libraryError is an error of the wallet library: {"error", "message", "status"}.
func libraryError(name, message string) answer {
	status, ok := libraryErrors[name]
	if !ok {
		status = http.StatusBadRequest
	}
	return answer{status: status, body: struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Status  int    `json:"status"`
	}{name, message, status}}
}

// nodeError is an error of the RGB Lightning Node. Name is empty where the node answered without JSON.
type nodeError struct {
	Text string
	Code int
	Name string
}

type nodeErrorBody struct {
	Error string `json:"error"`
	Code  int    `json:"code"`
	Name  string `json:"name,omitempty"`
}

// answer wraps e as the server does: under detail, with the node's status.
func (e *nodeError) answer() answer {
	return answer{status: e.Code, body: struct {
		Detail nodeErrorBody `json:"detail"`
	}{nodeErrorBody{e.Text, e.Code, e.Name}}}
}

// pythonText is e as the reference server prints it into the error_message of a send.
func (e *nodeError) pythonText() string {
	return fmt.Sprintf("%d: {'error': '%s', 'code': %d, 'name': '%s'}", e.Code, e.Text, e.Code, e.Name)
}

// unreachable is what the server answers when its node does not: text is empty after a timeout.
func unreachable(text string) answer {
	return detailError(http.StatusInternalServerError, "Failed to communicate with RLN node: "+text)
}

// internalError is what the server answers when it fails itself.
func internalError() answer {
	return answer{status: http.StatusInternalServerError, body: struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{"InternalServerError", "[Manager] An unexpected error occurred. Please try again later."}}
}

// violation is one item of a 422 of request validation.
type violation struct {
	Type    string          `json:"type"`
	Loc     []any           `json:"loc"`
	Msg     string          `json:"msg"`
	Input   json.RawMessage `json:"input"`
	Context *violationCtx   `json:"ctx,omitempty"`
}

type violationCtx struct {
	Error string `json:"error"`
}

func invalid(violations []violation) answer {
	return answer{status: http.StatusUnprocessableEntity, body: struct {
		Detail []violation `json:"detail"`
	}{violations}}
}
