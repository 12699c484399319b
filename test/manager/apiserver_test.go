package manager_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
)

// apiCall is a request of the API server, in the words in which roles grant it.
type apiCall struct {
	verb, group string
	// resource is with the subresource: wallets/status.
	resource  string
	namespace string
	// name is empty for a list, and for what is created.
	name string
}

func (c apiCall) String() string {
	return strings.TrimSpace(strings.Join([]string{c.verb, strings.TrimSuffix(c.resource+"."+c.group, "."), c.namespace}, " "))
}

// apiServer stands before the API server and notes what is asked of it and what is refused.
type apiServer struct {
	config *rest.Config

	mutex   sync.Mutex
	calls   sets.Set[apiCall]
	refused []string
}

// newAPIServer returns the API server as client reaches it, through notes. The client's own token is what is passed on.
func newAPIServer(t *testing.T, client *rest.Config) *apiServer {
	t.Helper()
	behind, err := rest.TransportFor(rest.AnonymousClientConfig(client))
	if err != nil {
		t.Fatal(err)
	}
	host := client.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	target, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	s := &apiServer{calls: sets.New[apiCall]()}
	proxy := &httputil.ReverseProxy{
		Transport:      behind,
		FlushInterval:  -1, // watches
		ErrorLog:       log.New(io.Discard, "", 0),
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: s.note,
	}
	server := httptest.NewTLSServer(proxy)
	t.Cleanup(server.Close)
	s.config = rest.CopyConfig(client)
	s.config.Host = server.URL
	s.config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return s
}

func (s *apiServer) note(response *http.Response) error {
	resolver := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := resolver.NewRequestInfo(response.Request)
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized {
		s.refused = append(s.refused, info.Verb+" "+info.Path)
	}
	if !info.IsResourceRequest {
		return nil // discovery, which everybody may
	}
	resource := info.Resource
	if info.Subresource != "" {
		resource += "/" + info.Subresource
	}
	call := apiCall{verb: info.Verb, group: info.APIGroup, resource: resource, namespace: info.Namespace, name: info.Name}
	if call.verb == "create" {
		call.name = ""
	}
	s.calls.Insert(call)
	return nil
}

// noted returns the calls so far, and those that were refused.
func (s *apiServer) noted() ([]apiCall, []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.calls.UnsortedList(), s.refused
}
