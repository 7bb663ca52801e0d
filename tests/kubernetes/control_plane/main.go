// Command control-plane is the control plane of Kubernetes and the tools of those who use it, in one
// program: what they share is compiled and linked once. It is what the name says by which it is
// called, or else its first argument:
//
//	control-plane kube-apiserver --help
//	ln -s control-plane helm; ./helm version
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // CronJobs name time zones

	"go.etcd.io/etcd/server/v3/etcdmain"
	helmcmd "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// Each builds its command only when called: Kubernetes' commands register the process's one handler
// of signals as they are made.
var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"helm":                    helm,
	"kube-apiserver":          func() { os.Exit(cli.Run(apiserver.NewAPIServerCommand())) },
	"kube-controller-manager": func() { os.Exit(cli.Run(controllers.NewControllerManagerCommand())) },
	"kube-scheduler":          func() { os.Exit(cli.Run(scheduler.NewSchedulerCommand())) },
	"kubectl":                 kubectl,
}

func main() {
	called := filepath.Base(os.Args[0])
	if _, known := programs[called]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		called = os.Args[0]
	}
	program, known := programs[called]
	if !known {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "%s is none of %s\n", called, strings.Join(names, ", "))
		os.Exit(2)
	}
	if os.Getenv("CONTROL_PLANE_ENDS_WITH_INPUT") != "" {
		// Whoever started it holds the other end: it outlives none of them, however they end.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	program()
}

func kubectl() {
	if err := cli.RunNoErrOutput(kubectlcmd.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

func helm() {
	kube.ManagedFieldsManager = "helm"
	command, err := helmcmd.NewRootCmd(os.Stdout, os.Args[1:], helmcmd.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if command.Execute() != nil {
		os.Exit(1)
	}
}
