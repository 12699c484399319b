// Package api is what oapi-codegen makes of the service's OpenAPI document: models and request builders. It knows nothing of
// retries, effects or wallets; package utexo is the client.
package api

//go:generate go tool -modfile=../../../hack/tools/oapi-codegen/go.mod oapi-codegen -config config.yaml ../../../api/openapi/utexo.yaml
