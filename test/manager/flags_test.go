package manager_test

import (
	"bytes"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// call runs the manager to its end, in a home without a kubeconfig.
func call(t *testing.T, arguments ...string) (out, problems string, code int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, arguments...)
	command.Env = []string{"HOME=" + t.TempDir()}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return stdout.String(), stderr.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), 0
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, problems, code := call(t, "--version")
	if out != builtVersion+"\n" || problems != "" || code != 0 {
		t.Errorf("--version: exit code %d, %q, %q, want %s", code, out, problems, builtVersion)
	}
}

// documentedFlag is a flag in the text of --help: its name and type, and in the next line what it is for.
var documentedFlag = regexp.MustCompile(`(?m)^  -([a-z0-9-]+)(?: \S+)?\n    \t(.*)$`)

func TestHelp(t *testing.T) {
	t.Parallel()
	_, text, code := call(t, "--help")
	if code != 0 {
		t.Errorf("--help ends with exit code %d", code)
	}
	var own []string
	found := documentedFlag.FindAllStringSubmatch(text, -1)
	for _, match := range found {
		name, usage := match[1], strings.TrimSpace(match[2])
		if len(strings.Fields(usage)) < 3 {
			t.Errorf("--%s is not explained: %q", name, usage)
		}
		if name != "kubeconfig" && !strings.HasPrefix(name, "zap-") { // controller-runtime's
			own = append(own, name)
		}
	}
	if flags := regexp.MustCompile(`(?m)^  -[a-z]`).FindAllString(text, -1); len(flags) != len(found) {
		t.Errorf("%d flags, %d of them with an explanation:\n%s", len(flags), len(found), text)
	}
	want := []string{
		"concurrency", "health-probe-bind-address", "kube-api-burst", "kube-api-qps", "leader-elect", "leader-lease-duration",
		"leader-renew-deadline", "leader-retry-period", "looks-per-second", "metrics-bind-address", "metrics-insecure", "namespace", "observe-interval", "pprof-bind-address", "quarantine",
		"record-retention", "shard", "version", "wallet-sync-interval", "watch-namespaces",
	}
	slices.Sort(own)
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		arguments []string
		// want is a part of the message.
		want string
		code int
	}{
		"a flag that does not exist":     {[]string{"--leader-elects"}, "flag provided but not defined: -leader-elects", 2},
		"a quarantine that is a word":    {[]string{"--quarantine=soon"}, `invalid value "soon" for flag -quarantine`, 2},
		"a quarantine without a unit":    {[]string{"--quarantine=300"}, `invalid value "300" for flag -quarantine`, 2},
		"no quarantine":                  {[]string{"--quarantine=0s"}, "--quarantine must be positive", 1},
		"records kept for a day only":    {[]string{"--record-retention=24h"}, "--record-retention must be 0 or at least 720h", 1},
		"a negative quarantine":          {[]string{"--quarantine=-300s"}, "--quarantine must be positive", 1},
		"a hectic sync":                  {[]string{"--wallet-sync-interval=10ms"}, "--wallet-sync-interval at least 1s", 1},
		"a hectic observer":              {[]string{"--observe-interval=1s"}, "--observe-interval must be at least 2s", 1},
		"an observer that never looks":   {[]string{"--looks-per-second=0"}, "--looks-per-second at least 1", 1},
		"a manager that asks nothing":    {[]string{"--kube-api-qps=0"}, "--kube-api-qps must be at least 10", 1},
		"a burst below the rate":         {[]string{"--kube-api-burst=100"}, "--kube-api-burst no less than it", 1},
		"nobody to work":                 {[]string{"--concurrency=0"}, "--concurrency must be at least 1", 1},
		"profiles for everybody":         {[]string{"--pprof-bind-address=:6060"}, "--pprof-bind-address must be 0 or", 1},
		"no namespace":                   {[]string{"--namespace="}, "--namespace must name", 1},
		"an empty namespace in the list": {[]string{"--watch-namespaces=team-a,,team-b"}, "--watch-namespaces has an empty name", 1},
		"a comma at the end of the list": {[]string{"--watch-namespaces=team-a,"}, "--watch-namespaces has an empty name", 1},
		"a value after a space, which would end the flags": {
			[]string{"--leader-elect", "false", "--quarantine=600s"}, `unexpected argument "false"`, 1,
		},
		"a leader that steps down after others took the lead": {
			[]string{"--leader-lease-duration=20s", "--leader-renew-deadline=20s"}, "--leader-lease-duration must exceed", 1,
		},
		"a leader without time to try again": {
			[]string{"--leader-renew-deadline=5s", "--leader-retry-period=5s"}, "--leader-lease-duration must exceed", 1,
		},
		"a shard that no label and no Lease can be named after": {
			[]string{"--shard=Blue"}, `--shard: "Blue" cannot be the name of a shard`, 1,
		},
		"two shards": {[]string{"--shard=blue,green"}, `--shard: "blue,green" cannot be the name of a shard`, 1},
		"a log that holds the API server's answers": {[]string{"--zap-log-level=8"}, "--zap-log-level must be below 8", 1},
		"no API server": {nil, "finding the API server", 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, problems, code := call(t, tc.arguments...)
			if code != tc.code || !strings.Contains(problems, tc.want) || out != "" {
				t.Errorf("%v: exit code %d, %q, %q, want %d and %q", tc.arguments, code, out, problems, tc.code, tc.want)
			}
		})
	}
}
