// Command pulumi-resource-kubernetes is Pulumi's Kubernetes provider, built
// from its Go module. The module lacks the two files that its own main package
// embeds and that upstream generates: the schema, which only SDK generators and
// `import` ask for, and a mapping for conversions from Terraform.
package main

import "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"

// version is the one that upstream would give to this commit.
const version = "4.25.0-alpha.1768448096"

func main() {
	schema := []byte(`{"name": "kubernetes", "version": "` + version + `"}`)
	provider.Serve("kubernetes", version, schema, []byte("{}"))
}
