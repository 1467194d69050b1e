// Command argocd holds the components of Argo CD that the sandbox runs, each
// called by a link of its name as in the upstream image. The upstream binary
// also links Dex, ApplicationSets, notifications and the CLI.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	gitaskpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	server "github.com/argoproj/argo-cd/v3/cmd/argocd-server/commands"
	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/util/grpc"
	"github.com/argoproj/argo-cd/v3/util/log"
)

var components = map[string]func() *cobra.Command{
	common.CommandApplicationController: controller.NewCommand,
	common.CommandGitAskPass:            gitaskpass.NewCommand,
	common.CommandRepoServer:            reposerver.NewCommand,
	common.CommandServer:                server.NewCommand,
}

func main() {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))
	grpc.DisableSRVLookups() // as upstream: SRV look-ups stall in clusters

	name := filepath.Base(os.Args[0])
	if override := os.Getenv("ARGOCD_BINARY_NAME"); override != "" {
		name = override // how upstream starts the askpass helper
	}
	component, known := components[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s is not a component of this binary\n", name)
		os.Exit(2)
	}
	if err := component().Execute(); err != nil {
		os.Exit(1)
	}
}
