// Command registry is CNCF Distribution's registry with the one storage driver
// that the sandbox uses: the cloud drivers are most of the upstream binary.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
