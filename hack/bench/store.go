package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// store is the etcd of the API server, over the JSON that it speaks beside gRPC. It takes thousands of objects a second where the API server
// takes a hundred, and forgets as fast; the API server is told by its watches, as of what other API servers write.
type store struct{ url string }

// keyOf is where the API server keeps a resource of the operator's, or with an empty name all of a kind and namespace.
func keyOf(resource, namespace, name string) string {
	return "/registry/" + v1alpha1.GroupVersion.Group + "/" + resource + "/" + namespace + "/" + name
}

// pair is a key of etcd with its value. Both are base64 in JSON, as etcd has it.
type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// get returns the value of a key as the API server wrote it.
func (s *store) get(ctx context.Context, key string) ([]byte, error) {
	var answer struct {
		Kvs []pair `json:"kvs"`
	}
	if err := s.call(ctx, "range", pair{Key: []byte(key)}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Kvs) != 1 {
		return nil, fmt.Errorf("etcd has no %s", key)
	}
	return answer.Kvs[0].Value, nil
}

// put writes pairs, 100 at most, which is less than etcd takes at once.
func (s *store) put(ctx context.Context, pairs []pair) error {
	type operation struct {
		Put pair `json:"requestPut"`
	}
	var request struct {
		Success []operation `json:"success"`
	}
	for _, p := range pairs {
		request.Success = append(request.Success, operation{p})
	}
	var answer struct {
		Succeeded bool `json:"succeeded"`
	}
	if err := s.call(ctx, "txn", request, &answer); err != nil {
		return err
	}
	if !answer.Succeeded {
		return errors.New("etcd did not write what it was given")
	}
	return nil
}

// remove removes all keys that begin with prefix.
func (s *store) remove(ctx context.Context, prefix string) error {
	end := []byte(prefix)
	end[len(end)-1]++ // which is the first that does not: it ends with a slash
	request := struct {
		pair
		End []byte `json:"range_end"`
	}{pair{Key: []byte(prefix)}, end}
	return s.call(ctx, "deleterange", request, &struct{}{})
}

// call has etcd do something.
func (s *store) call(ctx context.Context, what string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v3/kv/"+what, bytes.NewReader(content))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading etcd's answer: %w", err)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("etcd answers %s: %s", response.Status, got)
	}
	return json.Unmarshal(got, answer)
}
