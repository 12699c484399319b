package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// golden is every right that the manager is shipped with, and nothing else: a change here is a change of what a stolen token can do.
var golden = []string{
	"anywhere: create events.events.k8s.io",
	"anywhere: create settlements.payments.utexo.com",
	"anywhere: create subjectaccessreviews.authorization.k8s.io",
	"anywhere: create tokenreviews.authentication.k8s.io",
	"anywhere: delete lightninginvoices.payments.utexo.com",
	"anywhere: delete lightningpayments.payments.utexo.com",
	"anywhere: delete onchainsends.payments.utexo.com",
	"anywhere: delete settlements.payments.utexo.com",
	"anywhere: get configmaps",
	"anywhere: get lightninginvoices.payments.utexo.com",
	"anywhere: get lightningpayments.payments.utexo.com",
	"anywhere: get namespaces",
	"anywhere: get onchainsends.payments.utexo.com",
	"anywhere: get settlements.payments.utexo.com",
	"anywhere: get wallets.payments.utexo.com",
	"anywhere: list depositaddresses.payments.utexo.com",
	"anywhere: list lightninginvoices.payments.utexo.com",
	"anywhere: list lightningpayments.payments.utexo.com",
	"anywhere: list onchainsends.payments.utexo.com",
	"anywhere: list paymentapprovals.payments.utexo.com",
	"anywhere: list paymentsignatures.payments.utexo.com",
	"anywhere: list settlements.payments.utexo.com",
	"anywhere: list statements.payments.utexo.com",
	"anywhere: list wallets.payments.utexo.com",
	"anywhere: patch depositaddresses/status.payments.utexo.com",
	"anywhere: patch events.events.k8s.io",
	"anywhere: patch lightninginvoices/status.payments.utexo.com",
	"anywhere: patch lightningpayments.payments.utexo.com",
	"anywhere: patch lightningpayments/status.payments.utexo.com",
	"anywhere: patch onchainsends.payments.utexo.com",
	"anywhere: patch onchainsends/status.payments.utexo.com",
	"anywhere: patch settlements/status.payments.utexo.com",
	"anywhere: patch statements/status.payments.utexo.com",
	"anywhere: patch wallets/status.payments.utexo.com",
	"anywhere: watch depositaddresses.payments.utexo.com",
	"anywhere: watch lightninginvoices.payments.utexo.com",
	"anywhere: watch lightningpayments.payments.utexo.com",
	"anywhere: watch onchainsends.payments.utexo.com",
	"anywhere: watch paymentapprovals.payments.utexo.com",
	"anywhere: watch paymentsignatures.payments.utexo.com",
	"anywhere: watch settlements.payments.utexo.com",
	"anywhere: watch statements.payments.utexo.com",
	"anywhere: watch wallets.payments.utexo.com",
	"utexo-system: create events",
	"utexo-system: create leases.coordination.k8s.io",
	"utexo-system: create paymentrecords.payments.utexo.com",
	"utexo-system: create secrets",
	"utexo-system: delete secrets",
	"utexo-system: get leases.coordination.k8s.io",
	"utexo-system: get paymentrecords.payments.utexo.com",
	"utexo-system: get secrets",
	"utexo-system: list paymentrecords.payments.utexo.com",
	"utexo-system: patch events",
	"utexo-system: patch leases.coordination.k8s.io",
	"utexo-system: patch paymentrecords.payments.utexo.com",
	"utexo-system: update leases.coordination.k8s.io",
}

// reserve are the rights that the happy path does without, and what they are for.
var reserve = map[string]string{
	"anywhere: patch events.events.k8s.io":               "an event that is told twice of one version of an object",
	"anywhere: list depositaddresses.payments.utexo.com": "an API server that does not stream lists",
	"anywhere: list settlements.payments.utexo.com":      "an API server that does not stream lists",
	"anywhere: list statements.payments.utexo.com":       "an API server that does not stream lists",
	"utexo-system: patch events":                         "a leader that takes the lead twice",
}

// rule is a rule of a role; namespace is empty for a ClusterRole's.
type rule struct {
	namespace string
	rbacv1.PolicyRule
}

// allows reports whether the rule grants c.
func (r rule) allows(c apiCall) bool {
	return (r.namespace == "" || r.namespace == c.namespace) &&
		slices.Contains(r.Verbs, c.verb) && slices.Contains(r.APIGroups, c.group) && slices.Contains(r.Resources, c.resource)
}

// rights spells the rule out.
func (r rule) rights() (rights []string) {
	where := r.namespace
	if where == "" {
		where = "anywhere"
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				rights = append(rights, where+": "+verb+" "+strings.TrimSuffix(resource+"."+group, "."))
			}
		}
	}
	if len(r.NonResourceURLs) > 0 || len(r.ResourceNames) > 0 {
		rights = append(rights, fmt.Sprintf("%s: %v", where, r.PolicyRule))
	}
	return rights
}

// shippedRules are the rules of all roles that config/rbac binds to the manager's account.
func shippedRules(t *testing.T) (rules []rule) {
	t.Helper()
	for _, name := range []string{"role.yaml", "metrics_auth_role.yaml"} {
		file, err := os.Open(filepath.Join(kubectl.Root, "config", "rbac", name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
		for {
			var role rbacv1.ClusterRole // a Role has the same fields
			err := decoder.Decode(&role)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("reading %s: %v", name, err)
			}
			for _, r := range role.Rules {
				rules = append(rules, rule{role.Namespace, r})
			}
		}
	}
	return rules
}

func TestShippedRights(t *testing.T) {
	t.Parallel()
	var rights []string
	for _, r := range shippedRules(t) {
		rights = append(rights, r.rights()...)
	}
	slices.Sort(rights)
	if diff := cmp.Diff(golden, rights); diff != "" {
		t.Errorf("config/rbac grants (-want +got):\n%s", diff)
	}
}

// checkRights holds what a manager asked of the API server against what it may: every right is used, but for the reserve, and without any
// one rule some of it would be refused.
func checkRights(t *testing.T, calls []apiCall) {
	t.Helper()
	rules := shippedRules(t)
	var own []apiCall // but for Secrets and documents of teams, which teams grant
	for _, c := range calls {
		if c.namespace != testkit.OperatorNamespace && (c.resource == "secrets" || c.resource == "configmaps" && c.verb == "create") {
			continue
		}
		c.name = ""
		if !slices.Contains(own, c) {
			own = append(own, c)
		}
	}
	used := sets.New[string]()
	for _, c := range own {
		for _, r := range rules {
			if r.allows(c) {
				one := rule{r.namespace, rbacv1.PolicyRule{APIGroups: []string{c.group}, Resources: []string{c.resource}, Verbs: []string{c.verb}}}
				used.Insert(one.rights()...)
			}
		}
	}
	wantUsed := sets.New(golden...).Delete(sets.List(sets.KeySet(reserve))...)
	if diff := cmp.Diff(sets.List(wantUsed), sets.List(used)); diff != "" {
		t.Errorf("rights that the manager used (-want +got):\n%s", diff)
	}
	for i := range rules {
		checkRuleNeeded(t, rules, i, own)
	}
}

// checkRuleNeeded asks the API server what an account could do with all rules but one: of the calls just those that the rule grants, and
// there are some, must be refused.
func checkRuleNeeded(t *testing.T, rules []rule, without int, calls []apiCall) {
	t.Helper()
	user := fmt.Sprintf("without-rule-%d", without)
	kept := map[string][]rbacv1.PolicyRule{}
	for i, r := range rules {
		if i != without {
			kept[r.namespace] = append(kept[r.namespace], r.PolicyRule)
		}
	}
	bind(t, user, kept[""], kept[testkit.OperatorNamespace])
	var want []string
	for _, c := range calls {
		if rules[without].allows(c) {
			want = append(want, c.String())
		}
	}
	if len(want) == 0 {
		t.Errorf("nothing needs the rule %v", rules[without])
	}
	await(t, "the API server refuses what the missing rule grants", func() error {
		var refused []string
		for _, c := range calls {
			if allowed, err := may(t.Context(), user, c); err != nil {
				return err
			} else if !allowed {
				refused = append(refused, c.String())
			}
		}
		if diff := cmp.Diff(want, refused); diff != "" {
			return fmt.Errorf("without the rule %v is refused (-want +got):\n%s", rules[without], diff)
		}
		return nil
	})
}

// bind gives user a ClusterRole with the first rules and a Role in the operator's namespace with the second.
func bind(t *testing.T, user string, anywhere, inNamespace []rbacv1.PolicyRule) {
	t.Helper()
	name, inside := metav1.ObjectMeta{Name: user}, metav1.ObjectMeta{Name: user, Namespace: testkit.OperatorNamespace}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	to := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: user}
	}
	for _, object := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: name, Rules: anywhere},
		&rbacv1.ClusterRoleBinding{ObjectMeta: name, Subjects: subjects, RoleRef: to("ClusterRole")},
		&rbacv1.Role{ObjectMeta: inside, Rules: inNamespace},
		&rbacv1.RoleBinding{ObjectMeta: inside, Subjects: subjects, RoleRef: to("Role")},
	} {
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// may asks the API server whether it would let user do what c does.
func may(ctx context.Context, user string, c apiCall) (bool, error) {
	resource, subresource, _ := strings.Cut(c.resource, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: c.verb, Group: c.group, Resource: resource, Subresource: subresource, Namespace: c.namespace,
		},
	}}
	err := api.Create(ctx, review)
	return review.Status.Allowed, err
}
