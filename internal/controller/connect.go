package controller

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/spender"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// Connection is a wallet as it can be used now: its public keys, its service, and its signer where it has one.
type Connection struct {
	Public keys.Public
	Client *utexo.Client
	// Signer is nil where nobody can sign; Unsigned then says why.
	Signer   signer.Signer
	Unsigned *payment.Obstacle
	Record   v1alpha1.RecordWallet
}

// Session is the connection as the money path uses it.
func (c *Connection) Session(wallet *v1alpha1.Wallet) *spender.Session {
	session := &spender.Session{Service: c.Client, Signer: c.Signer, Wallet: c.Record, Profile: wallet.Spec.Endpoint.Profile}
	if declared := wallet.Spec.Signer; declared != nil {
		session.AssetPolicy = declared.AssetPolicy
		session.Window = signingWindow(declared)
	}
	return session
}

// Connector makes connections from what Wallets name. Secrets and ConfigMaps are read one by one, by name, and never from a cache:
// the operator may get the Secrets that a namespace grants it, and list none.
type Connector struct {
	Reader    client.Reader
	Clock     clock.PassiveClock
	UserAgent string
	// Instrument wraps the transport to the services, for traces, metrics and tests; nil for none.
	Instrument func(http.RoundTripper) http.RoundTripper
	// Transport takes the place of the client's own, see utexo.Config; nil for that. For simulations.
	Transport http.RoundTripper

	mutex   sync.Mutex
	clients map[types.NamespacedName]cachedClient
	signers map[types.NamespacedName]cachedSigner
	keys    map[types.NamespacedName]cachedKeys
}

// cachedKeys are the keys that were derived from a Secret, kept while the Secret, which is read each time, says the same: deriving them
// takes longer than all else that a look at a payment does.
type cachedKeys struct {
	digest [sha256.Size]byte
	set    *keys.Set
}

// cachedClient is a client that is kept while what it was made from does not change, for its connections and what it learnt of the
// service.
type cachedClient struct {
	uid    types.UID
	digest [sha256.Size]byte
	client *utexo.Client
}

// cachedSigner is the client of a remote signer, kept as a cachedClient is.
type cachedSigner struct {
	uid    types.UID
	digest [sha256.Size]byte
	client *remotesigner.Client
}

// Connect returns a connection, or what keeps the wallet from being used. Where that is not the keys the connection comes with it, without
// a client. An error is one of the API server's.
func (c *Connector) Connect(ctx context.Context, wallet *v1alpha1.Wallet) (*Connection, *payment.Obstacle, error) {
	connection := &Connection{}
	obstacle, err := c.loadKeys(ctx, wallet, connection)
	if obstacle != nil || err != nil {
		return nil, obstacle, err
	}
	connection.Record = v1alpha1.RecordWallet{
		Name: wallet.Name, MasterFingerprint: connection.Public.MasterFingerprint, XpubVanilla: connection.Public.XpubVanilla,
		Server: serverOf(wallet.Spec.Endpoint.URL),
	}
	config, obstacle, err := c.clientConfig(ctx, wallet, connection.Public)
	if obstacle != nil || err != nil {
		return connection, obstacle, err
	}
	connection.Client, err = c.client(wallet, config)
	if invalid, ok := errors.AsType[*utexo.ConfigError](err); ok {
		return connection, unusable(v1alpha1.ReasonInvalidEndpoint, "spec.endpoint cannot be used: %v", invalid), nil
	}
	return connection, nil, err
}

// Forget drops what is kept of a wallet that is gone.
func (c *Connector) Forget(name types.NamespacedName) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.drop(name)
	c.dropSigner(name)
	delete(c.keys, name)
}

func (c *Connector) drop(name types.NamespacedName) {
	if kept, ok := c.clients[name]; ok {
		kept.client.CloseIdleConnections()
		delete(c.clients, name)
	}
}

func (c *Connector) client(wallet *v1alpha1.Wallet, config utexo.Config) (*utexo.Client, error) {
	name, digest := client.ObjectKeyFromObject(wallet), digestOf(config)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if kept, ok := c.clients[name]; ok && kept.uid == wallet.UID && kept.digest == digest {
		return kept.client, nil
	}
	made, err := utexo.New(config)
	if err != nil {
		return nil, err
	}
	c.drop(name)
	if c.clients == nil {
		c.clients = map[types.NamespacedName]cachedClient{}
	}
	c.clients[name] = cachedClient{uid: wallet.UID, digest: digest, client: made}
	return made, nil
}

// digestOf tells one configuration from another without keeping its secrets.
func digestOf(config utexo.Config) [sha256.Size]byte {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q %q %q %t %s", config.URL, config.Wallet, config.BearerToken, config.CABundle, config.Insecure, config.ReadTimeout)
	fmt.Fprintf(hash, "%q", config.Headers) // maps print in the order of their keys
	if config.ClientCertificate != nil {
		fmt.Fprintf(hash, "%q", config.ClientCertificate.Certificate)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// serverOf is the identity of a service: its URL in one spelling.
func serverOf(text string) string {
	parsed, err := url.Parse(text)
	if err != nil {
		return text
	}
	scheme, host := strings.ToLower(parsed.Scheme), strings.ToLower(parsed.Host)
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme])
	return scheme + "://" + host + strings.TrimRight(parsed.EscapedPath(), "/")
}

func (c *Connector) loadKeys(ctx context.Context, wallet *v1alpha1.Wallet, connection *Connection) (*payment.Obstacle, error) {
	network := bitcoin.Network(wallet.Spec.Network)
	if watched := wallet.Spec.Keys.WatchOnly; watched != nil {
		public, err := keys.ParsePublic(network, watched.XpubVanilla, watched.XpubColored, watched.MasterFingerprint)
		if err != nil {
			return invalidKeys("spec.keys.watchOnly", err), nil
		}
		connection.Public = public
		connection.Signer, connection.Unsigned, err = c.otherSigner(ctx, wallet, public)
		return nil, err
	}
	name := wallet.Spec.Keys.SecretRef.Name
	data, obstacle, err := c.secret(ctx, wallet.Namespace, name)
	if obstacle != nil || err != nil {
		c.forgetKeys(wallet)
		return obstacle, err
	}
	set, obstacle := c.derived(wallet, name, data)
	if obstacle != nil {
		return obstacle, nil
	}
	connection.Public, connection.Signer = set.Public(), signer.NewLocal(set)
	return nil, nil
}

// derived returns the keys of a Wallet, from memory where its Secret still says what they were made from.
func (c *Connector) derived(wallet *v1alpha1.Wallet, secret string, data map[string][]byte) (*keys.Set, *payment.Obstacle) {
	name := client.ObjectKeyFromObject(wallet)
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q", wallet.Spec.Network, data) // maps print in the order of their keys
	digest := [sha256.Size]byte(hash.Sum(nil))
	c.mutex.Lock()
	kept, ok := c.keys[name]
	c.mutex.Unlock()
	if ok && kept.digest == digest {
		return kept.set, nil
	}
	set, obstacle := keySet(secret, data, bitcoin.Network(wallet.Spec.Network))
	if obstacle != nil {
		c.forgetKeys(wallet)
		return nil, obstacle
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.keys == nil {
		c.keys = map[types.NamespacedName]cachedKeys{}
	}
	c.keys[name] = cachedKeys{digest, set}
	return set, nil
}

func (c *Connector) forgetKeys(wallet *v1alpha1.Wallet) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.keys, client.ObjectKeyFromObject(wallet))
}

// keySet makes keys of a Secret's data, in either of its two forms.
func keySet(name string, data map[string][]byte, network bitcoin.Network) (*keys.Set, *payment.Obstacle) {
	set, err := keys.FromSecret(data, network)
	if refused, ok := errors.AsType[*keys.Error](err); ok && refused.Reason == keys.Missing {
		return nil, unusable(v1alpha1.ReasonInvalidKeys,
			"Secret %s has neither the key mnemonic nor the keys xprvVanilla, xprvColored and masterFingerprint", name)
	}
	if err != nil {
		return nil, invalidKeys("Secret "+name, err)
	}
	return set, nil
}

// isWalletKey reports whether key is one of those under which a Secret holds the keys of a wallet.
func isWalletKey(key string) bool {
	switch key {
	case "mnemonic", "passphrase", "xprvVanilla", "xprvColored":
		return true
	}
	return false
}

// invalidKeys shows only what package keys says, which quotes no word and no key.
func invalidKeys(source string, err error) *payment.Obstacle {
	message := "the keys cannot be read"
	if refused, ok := errors.AsType[*keys.Error](err); ok {
		message = refused.Error()
	}
	return unusable(v1alpha1.ReasonInvalidKeys, "%s: %s", source, message)
}

// secret reads one Secret.
func (c *Connector) secret(ctx context.Context, namespace, name string) (map[string][]byte, *payment.Obstacle, error) {
	var secret corev1.Secret
	err := c.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, unusable(v1alpha1.ReasonSecretNotFound, "Secret %s does not exist in namespace %s; create it", name, namespace), nil
	case apierrors.IsForbidden(err):
		return nil, unusable(v1alpha1.ReasonSecretForbidden,
			"the operator may not read Secret %s; grant its service account the verb get on this Secret by a Role and RoleBinding in namespace %s",
			name, namespace), nil
	case err != nil:
		return nil, nil, fmt.Errorf("reading Secret: %w", err)
	}
	return secret.Data, nil, nil
}

func (c *Connector) clientConfig(ctx context.Context, wallet *v1alpha1.Wallet, public keys.Public) (utexo.Config, *payment.Obstacle, error) {
	endpoint := wallet.Spec.Endpoint
	config := utexo.Config{
		URL: endpoint.URL, Insecure: endpoint.Insecure, Headers: endpoint.Headers, UserAgent: c.UserAgent, Clock: c.Clock,
		Instrument: c.Instrument, Transport: c.Transport,
		Wallet: utexo.Wallet{
			XpubVanilla: public.XpubVanilla, XpubColored: public.XpubColored, MasterFingerprint: public.MasterFingerprint,
		},
	}
	if endpoint.Timeout != nil {
		config.ReadTimeout = endpoint.Timeout.Duration
	}
	if reference := endpoint.TokenSecretRef; reference != nil {
		data, obstacle, err := c.secret(ctx, wallet.Namespace, reference.Name)
		if obstacle != nil || err != nil {
			return config, obstacle, err
		}
		if isWalletKey(reference.Key) {
			// Else whoever may write Wallets could have the keys of one sent to a service of their own.
			return config, unusable(v1alpha1.ReasonInvalidEndpoint, "tokenSecretRef names key %s, which holds keys of a wallet and is no token",
				reference.Key), nil
		}
		config.BearerToken = strings.TrimSpace(string(data[reference.Key]))
		if config.BearerToken == "" {
			return config, unusable(v1alpha1.ReasonSecretNotFound, "Secret %s has no key %s", reference.Name, reference.Key), nil
		}
	}
	if reference := endpoint.ClientCertSecretRef; reference != nil {
		pair, obstacle, err := c.clientCertificate(ctx, wallet.Namespace, reference.Name, v1alpha1.ReasonInvalidEndpoint)
		if obstacle != nil || err != nil {
			return config, obstacle, err
		}
		config.ClientCertificate = pair
	}
	if reference := endpoint.CABundleRef; reference != nil {
		bundle, obstacle, err := c.caBundle(ctx, wallet.Namespace, reference, v1alpha1.ReasonInvalidEndpoint)
		if obstacle != nil || err != nil {
			return config, obstacle, err
		}
		config.CABundle = bundle
	}
	return config, nil, nil
}

// clientCertificate reads a Secret of type kubernetes.io/tls. What it does not hold is an obstacle of the reason.
func (c *Connector) clientCertificate(ctx context.Context, namespace, name, reason string) (*tls.Certificate, *payment.Obstacle, error) {
	data, obstacle, err := c.secret(ctx, namespace, name)
	if obstacle != nil || err != nil {
		return nil, obstacle, err
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, unusable(reason, "Secret %s holds no certificate and key (tls.crt, tls.key) that fit", name), nil
	}
	return &pair, nil, nil
}

// caBundle reads a key of a ConfigMap. Where there is none it is an obstacle of the reason.
func (c *Connector) caBundle(ctx context.Context, namespace string, reference *v1alpha1.KeyReference, reason string,
) ([]byte, *payment.Obstacle, error) {
	var bundle corev1.ConfigMap
	err := c.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: reference.Name}, &bundle)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, nil, fmt.Errorf("reading ConfigMap: %w", err)
	}
	text := []byte(bundle.Data[reference.Key])
	if len(text) == 0 {
		return nil, unusable(reason, "ConfigMap %s with key %s does not exist; create it", reference.Name, reference.Key), nil
	}
	return text, nil, nil
}

// otherSigner returns the signer of a Wallet that has public keys only, or why there is none. Such a wallet receives all the same. An
// error is one of the API server's.
func (c *Connector) otherSigner(ctx context.Context, wallet *v1alpha1.Wallet, public keys.Public) (signer.Signer, *payment.Obstacle, error) {
	if !signsRemotely(wallet) {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.dropSigner(client.ObjectKeyFromObject(wallet))
		if peopleSign(wallet) {
			return signer.NewManual(public), nil, nil
		}
		return nil, &payment.Obstacle{Reason: v1alpha1.ReasonWatchOnly, Message: "it is watch only and has no keys to sign with"}, nil
	}
	remote := wallet.Spec.Signer.Remote
	config := remotesigner.Config{URL: remote.URL, Public: public, UserAgent: c.UserAgent}
	if remote.Timeout != nil {
		config.Timeout = remote.Timeout.Duration
	}
	pair, obstacle, err := c.clientCertificate(ctx, wallet.Namespace, remote.ClientCertSecretRef.Name, v1alpha1.ReasonInvalidSigner)
	if obstacle != nil || err != nil {
		return nil, obstacle, err
	}
	config.ClientCertificate = *pair
	if remote.CABundleRef != nil {
		config.CABundle, obstacle, err = c.caBundle(ctx, wallet.Namespace, remote.CABundleRef, v1alpha1.ReasonInvalidSigner)
		if obstacle != nil || err != nil {
			return nil, obstacle, err
		}
	}
	made, err := c.signer(wallet, config)
	if err != nil {
		return nil, unusable(v1alpha1.ReasonInvalidSigner, "spec.signer.remote cannot be used: %v", err), nil
	}
	return made, nil, nil
}

// signsRemotely reports whether a Wallet's payments are signed elsewhere.
func signsRemotely(wallet *v1alpha1.Wallet) bool {
	declared := wallet.Spec.Signer
	return declared != nil && declared.Type == v1alpha1.SignerRemote && declared.Remote != nil
}

// peopleSign reports whether a Wallet's payments are signed by people.
func peopleSign(wallet *v1alpha1.Wallet) bool {
	declared := wallet.Spec.Signer
	return declared != nil && declared.Type == v1alpha1.SignerManual
}

// defaultSigningWindow is how long people have to sign an attempt, where the Wallet does not say.
const defaultSigningWindow = 15 * time.Minute

func signingWindow(declared *v1alpha1.WalletSigner) time.Duration {
	if declared.Manual == nil || declared.Manual.Window == nil {
		return defaultSigningWindow
	}
	return declared.Manual.Window.Duration
}

func (c *Connector) signer(wallet *v1alpha1.Wallet, config remotesigner.Config) (*remotesigner.Client, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q %q %s %q", config.URL, config.Public, config.CABundle, config.Timeout, config.ClientCertificate.Certificate)
	name, digest := client.ObjectKeyFromObject(wallet), [sha256.Size]byte(hash.Sum(nil))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if kept, ok := c.signers[name]; ok && kept.uid == wallet.UID && kept.digest == digest {
		return kept.client, nil
	}
	made, err := remotesigner.New(config)
	if err != nil {
		return nil, err
	}
	c.dropSigner(name)
	if c.signers == nil {
		c.signers = map[types.NamespacedName]cachedSigner{}
	}
	c.signers[name] = cachedSigner{uid: wallet.UID, digest: digest, client: made}
	return made, nil
}

func (c *Connector) dropSigner(name types.NamespacedName) {
	if kept, ok := c.signers[name]; ok {
		kept.client.CloseIdleConnections()
		delete(c.signers, name)
	}
}

// unusable is why a wallet cannot be used until somebody acts. Secrets are not watched, so it is looked at again by itself.
func unusable(reason, format string, arguments ...any) *payment.Obstacle {
	return &payment.Obstacle{Reason: reason, Message: fmt.Sprintf(format, arguments...), RetryAfter: secretPoll}
}
