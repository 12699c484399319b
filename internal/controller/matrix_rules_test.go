package controller_test

import (
	"net/http"
)

// removal takes rules of the protocol away, from outside of the operator.
type removal struct {
	kube   func(r *trial, call kubeCall) error
	answer func(r *trial, request *http.Request, send func() (*http.Response, error), made *moneyCall) (*http.Response, error)
}

func (m removal) kubeOf(r *trial, call kubeCall) func() error {
	if m.kube == nil {
		return call.do
	}
	return func() error { return m.kube(r, call) }
}

func (m removal) answerOf(r *trial, request *http.Request, send func() (*http.Response, error), made *moneyCall) (*http.Response, error) {
	if m.answer == nil {
		return send()
	}
	return m.answer(r, request, send, made)
}
