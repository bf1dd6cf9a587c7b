package deploy

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

var chartFolder = filepath.Join(root, "deploy", "helm", "psrpc")

// values contains values of a Helm chart, which may be nested.
type values = map[string]any

// minimal contains only the values that the chart requires. complete contains all values that
// change the rendered objects.
var (
	minimal = values{"gateway": values{"methods": []any{"greeting.Greeter/*"}}}

	complete = values{
		"image":            values{"repository": "registry.example/psrpc", "tag": "1.2.3"},
		"imagePullSecrets": []any{values{"name": "registry"}},
		"bus":              values{"prefix": "shop"},
		"schema":           values{"configMapName": "protos", "files": []any{"shop.binpb"}},
		"gateway": values{
			"methods": []any{"shop.Orders/*", "shop.Media/Get"}, "cors": []any{"https://app.example"},
			"extraArgs": []any{"--timeout=10s"}, "service": values{"annotations": values{"a": "b"}},
		},
		"explorer":                  values{"enabled": true, "tokenSecretName": "explorer"},
		"networkPolicy":             values{"busTo": []any{values{"podSelector": values{"matchLabels": values{"app": "redis"}}}}},
		"podAnnotations":            values{"c": "d"},
		"podLabels":                 values{"team": "shop"},
		"nodeSelector":              values{"kubernetes.io/os": "linux"},
		"tolerations":               []any{values{"key": "spot", "operator": "Exists"}},
		"affinity":                  values{"podAntiAffinity": values{}},
		"topologySpreadConstraints": []any{values{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}},
	}
)

// objects contains the Kubernetes objects of a rendered chart.
type objects struct {
	deployments map[string]*apps.Deployment
	services    map[string]*core.Service
	policies    map[string]*networking.NetworkPolicy
	notes       string
}

// render renders the chart. It fails the test if an object has unknown fields.
func render(t *testing.T, given values) (*objects, error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	require.NoError(t, err)
	release := chartutil.ReleaseOptions{Name: "shop", Namespace: "web", IsInstall: true}
	rendered, err := chartutil.ToRenderValues(chart, given, release, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, rendered)
	if err != nil {
		return nil, err
	}
	o := &objects{map[string]*apps.Deployment{}, map[string]*core.Service{}, map[string]*networking.NetworkPolicy{}, ""}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			o.notes = files[name]
			continue
		}
		for reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(files[name]))); ; {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			o.add(t, document)
		}
	}
	return o, nil
}

func (o *objects) add(t *testing.T, document []byte) {
	t.Helper()
	var kind struct{ Kind string }
	require.NoError(t, strict.Unmarshal(document, &kind), "%s", document)
	switch kind.Kind {
	case "Deployment":
		deployment := decode[apps.Deployment](t, document)
		o.deployments[deployment.Name] = deployment
	case "Service":
		service := decode[core.Service](t, document)
		o.services[service.Name] = service
	case "NetworkPolicy":
		policy := decode[networking.NetworkPolicy](t, document)
		o.policies[policy.Name] = policy
	default:
		assert.Empty(t, bytes.TrimSpace(document), "an object of an unexpected kind")
	}
}

func decode[T any](t *testing.T, document []byte) *T {
	t.Helper()
	object := new(T)
	require.NoError(t, strict.UnmarshalStrict(document, object), "%s", document)
	return object
}

func TestChart_HasNothingToComplainAbout(t *testing.T) {
	t.Parallel()
	for _, given := range []values{minimal, complete} {
		linter := lint.AllWithKubeVersion(chartFolder, given, "web", nil)
		for _, message := range linter.Messages {
			assert.Less(t, message.Severity, support.WarningSev, "%v", message)
		}
	}
}

func TestChart_HasTheVersionOfTheModule(t *testing.T) {
	t.Parallel()
	chart, err := loader.Load(chartFolder)
	require.NoError(t, err)
	assert.Equal(t, dynamic.Version, chart.Metadata.Version)
	assert.Equal(t, dynamic.Version, chart.Metadata.AppVersion)
}

func TestChart_Minimal(t *testing.T) {
	t.Parallel()
	o, err := render(t, minimal)
	require.NoError(t, err)
	require.Len(t, o.deployments, 1)
	pod := o.deployments["shop-psrpc-gateway"].Spec.Template
	container := pod.Spec.Containers[0]
	assert.Equal(t, "psrpc:"+dynamic.Version, container.Image)
	assert.Equal(t, []string{"gateway", "--yes", "--listen=:8321", "--methods=greeting.Greeter/*", "--metrics=:9321"}, container.Args)
	assert.Equal(t, "psrpc-bus", container.Env[0].ValueFrom.SecretKeyRef.Name, "the URL of the bus is a secret")
	assert.Subset(t, pod.Labels, o.services["shop-psrpc-gateway"].Spec.Selector)
	policy := o.policies["shop-psrpc"].Spec
	assert.Subset(t, pod.Labels, policy.PodSelector.MatchLabels)
	require.Len(t, policy.Ingress, 2)
	assert.Equal(t, 8321, policy.Ingress[0].Ports[0].Port.IntValue())
	assert.Equal(t, 9321, policy.Ingress[1].Ports[0].Port.IntValue())
	require.Len(t, policy.Egress, 2)
	assert.Empty(t, policy.Egress[1].To)
	assert.Contains(t, o.notes, "http://shop-psrpc-gateway.web:8321")
}

// The user and the permissions of a container must meet "restricted", the strictest of the
// Kubernetes Pod Security Standards.
func TestChart_PodsAreRestricted(t *testing.T) {
	t.Parallel()
	o, err := render(t, complete)
	require.NoError(t, err)
	require.Len(t, o.deployments, 2)
	for name, deployment := range o.deployments {
		pod := deployment.Spec.Template.Spec
		assert.True(t, *pod.SecurityContext.RunAsNonRoot, name)
		assert.EqualValues(t, 65532, *pod.SecurityContext.RunAsUser, name)
		assert.Equal(t, core.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, name)
		assert.False(t, *pod.AutomountServiceAccountToken, name)
		container := pod.Containers[0].SecurityContext
		assert.False(t, *container.AllowPrivilegeEscalation, name)
		assert.True(t, *container.ReadOnlyRootFilesystem, name)
		assert.Equal(t, []core.Capability{"ALL"}, container.Capabilities.Drop, name)
	}
}

// The program must know the flags that the chart passes to it.
func TestChart_ArgumentsAreFlagsOfTheProgram(t *testing.T) {
	t.Parallel()
	o, err := render(t, complete)
	require.NoError(t, err)
	for name, deployment := range o.deployments {
		args := deployment.Spec.Template.Spec.Containers[0].Args
		output, err := exec.CommandContext(t.Context(), psrpc(t), append(slices.Clone(args), "--help")...).CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, output)
		assert.Contains(t, args, "--descriptor-set=/etc/psrpc/schema/shop.binpb")
	}
	explorer := o.deployments["shop-psrpc-explorer"].Spec.Template.Spec.Containers[0]
	assert.Contains(t, explorer.Args, "--listen=127.0.0.1:8324", "only kubectl port-forward reaches it")
	assert.Contains(t, explorer.Args, "--read-only")
	assert.Equal(t, "PSRPC_EXPLORER_TOKEN", explorer.Env[1].Name)
	assert.Len(t, o.services, 1, "the explorer has no Service")
	assert.NotEmpty(t, o.policies["shop-psrpc"].Spec.Egress[1].To)
}

// The chart must require a list of methods, so that it never serves all methods by accident. It
// must also reject a password among its values.
func TestChart_Refuses(t *testing.T) {
	t.Parallel()
	_, err := render(t, values{})
	require.ErrorContains(t, err, "gateway.methods is empty")
	_, err = render(t, values{"bus": values{"url": "redis://:secret@redis"}, "gateway": minimal["gateway"]})
	require.ErrorContains(t, err, "url")
	require.NotContains(t, err.Error(), "secret@")
}
