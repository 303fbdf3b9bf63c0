// The story of nacos-sdk-go: story PORT NAMESPACE, started by tests/interop/witness, which see.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-group/nacos-sdk-go/clients"
	"github.com/nacos-group/nacos-sdk-go/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/common/constant"
	"github.com/nacos-group/nacos-sdk-go/model"
	"github.com/nacos-group/nacos-sdk-go/vo"
)

const (
	group   = "INTEROP_GROUP"
	service = "interop.Greeter:1.0"
	ip      = "127.0.0.1"

	one    uint64 = 7001
	two    uint64 = 7002
	guest  uint64 = 7003
	mortal uint64 = 7004

	// The client does not encode the bodies of its beats: a text with & + or % breaks them, with any server.
	text = `Grüße, 你好 a=b "c" {d}`

	// The client polls every 10 s, if the server can push; gaps of up to 16 s are usual.
	toldLimit = 20 * time.Second
	// Subscriptions are stored, so that a change right after a restart is pushed; the client polls every 10 s.
	toldAfterRestart = 3 * time.Second
	// A push takes some ms, on a busy machine more; it counts only if no poll came meanwhile.
	pushLimit    = 3 * time.Second
	pushAttempts = 4
	// The short limits are 3 s and 6 s, and the end of each is pushed.
	goneLimit = 6 * time.Second
	// The server merges changes within 1 s after a push; a change in a quiet time is pushed at once.
	quiet = 1200 * time.Millisecond
)

var clusters = map[uint64]string{one: "c1", two: "c2", guest: "c1", mortal: "c1"}

// short are the beats' limits of an instance that may die early.
var short = map[string]string{
	"preserved.heart.beat.interval": "1000",
	"preserved.heart.beat.timeout":  "3000",
	"preserved.ip.delete.timeout":   "6000",
}

type story struct {
	port       uint64
	namespace  string
	witness    witness
	first      naming_client.INamingClient
	second     naming_client.INamingClient
	subscriber subscriber
}

func main() {
	arguments := os.Args[1:]
	dies := arguments[0] == "mortal"
	if dies {
		arguments = arguments[1:]
	}
	port, err := strconv.ParseUint(arguments[0], 10, 16)
	if err != nil {
		panic(err)
	}
	s := &story{port: port, namespace: arguments[1]}
	if dies {
		s.die()
		return
	}
	s.witness = newWitness()
	s.first, s.second = s.client(s.namespace), s.client(s.namespace)
	s.arrive()
	s.find()
	s.watch()
	s.loseOne()
	s.witness.ask("@steady")
	killed := time.Now()
	s.witness.ask("@restart")
	s.goOn(killed)
	s.leave()
}

func (s *story) client(namespace string) naming_client.INamingClient {
	home, err := os.MkdirTemp(os.Getenv("HOME"), "client")
	if err != nil {
		panic(err)
	}
	client, err := clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: &constant.ClientConfig{
			NamespaceId: namespace, TimeoutMs: 3000, BeatInterval: 5000, NotLoadCacheAtStart: true,
			UpdateCacheWhenEmpty: true, CacheDir: filepath.Join(home, "cache"), LogDir: filepath.Join(home, "log"),
			LogLevel: "warn",
		},
		ServerConfigs: []constant.ServerConfig{{IpAddr: ip, Port: s.port, ContextPath: "/nacos"}},
	})
	if err != nil {
		panic(err)
	}
	return client
}

func instance(port uint64, weight float64, metadata map[string]string) vo.RegisterInstanceParam {
	return vo.RegisterInstanceParam{
		Ip: ip, Port: port, Weight: weight, Enable: true, Healthy: true, Metadata: metadata, ClusterName: clusters[port],
		ServiceName: service, GroupName: group, Ephemeral: true,
	}
}

func register(client naming_client.INamingClient, what vo.RegisterInstanceParam) error {
	_, err := client.RegisterInstance(what)
	return err
}

func deregister(client naming_client.INamingClient, service string, port uint64) error {
	_, err := client.DeregisterInstance(vo.DeregisterInstanceParam{
		Ip: ip, Port: port, Cluster: clusters[port], ServiceName: service, GroupName: group, Ephemeral: true,
	})
	return err
}

func (s *story) arrive() {
	check("register_two", func() error {
		return firstOf(
			register(s.first, instance(one, 2.5, map[string]string{"zone": "c1", "text": text})),
			register(s.first, instance(two, 1, map[string]string{"zone": "c2"})))
	})
	s.witness.ask("@arrived")
	time.Sleep(300 * time.Millisecond)
}

func (s *story) find() {
	check("list_all_instances", s.allAreListed)
	check("list_instances_of_a_cluster", func() error {
		hosts, err := s.first.SelectAllInstances(vo.SelectAllInstancesParam{
			ServiceName: service, GroupName: group, Clusters: []string{"c1"}})
		return firstOf(err, portsAre(hosts, "7001"))
	})
	check("select_healthy_instances", func() error {
		healthy, err := s.first.SelectInstances(vo.SelectInstancesParam{
			ServiceName: service, GroupName: group, HealthyOnly: true})
		// False selects the unhealthy ones.
		unhealthy, err2 := s.first.SelectInstances(vo.SelectInstancesParam{ServiceName: service, GroupName: group})
		return firstOf(err, err2, portsAre(healthy, "7001 7002"), portsAre(unhealthy, ""))
	})
	check("select_one_healthy_instance", func() error {
		found, err := s.first.SelectOneHealthyInstance(vo.SelectOneHealthInstanceParam{
			ServiceName: service, GroupName: group})
		if err != nil {
			return err
		}
		if found.Port != one && found.Port != two {
			return fmt.Errorf("got %v", found)
		}
		return nil
	})
	check("unknown_service_is_empty", func() error {
		return s.newClientLists(s.namespace, "interop.Nobody", group, "")
	})
	check("another_group_is_apart", func() error {
		return s.newClientLists(s.namespace, service, "DEFAULT_GROUP", "")
	})
	check("another_namespace_is_apart", func() error {
		return s.newClientLists(s.namespace+"-other", service, group, "")
	})
	check("services_by_page", s.servicesByPage)
}

func (s *story) newClientLists(namespace, service, group, wanted string) error {
	hosts, err := s.client(namespace).SelectAllInstances(vo.SelectAllInstancesParam{
		ServiceName: service, GroupName: group})
	return firstOf(err, portsAre(hosts, wanted))
}

func (s *story) allAreListed() error {
	list, err := s.first.GetService(vo.GetServiceParam{ServiceName: service, GroupName: group})
	if err := firstOf(err, portsAre(list.Hosts, "7001 7002")); err != nil {
		return err
	}
	for _, host := range list.Hosts {
		sent := instance(one, 2.5, map[string]string{"zone": "c1", "text": text})
		if host.Port == two {
			sent = instance(two, 1, map[string]string{"zone": "c2"})
		}
		// The service's name has no group for clients that are not Java ones.
		wanted := model.Instance{
			Valid: true, InstanceId: fmt.Sprintf("%s#%d#%s#%s@@%s", ip, sent.Port, sent.ClusterName, group, service),
			Port: sent.Port, Ip: ip, Weight: sent.Weight, Metadata: sent.Metadata, ClusterName: sent.ClusterName,
			ServiceName: service, Enable: true, Healthy: true, Ephemeral: true,
		}
		if !reflect.DeepEqual(host, wanted) {
			return fmt.Errorf("got %+v, not %+v", host, wanted)
		}
	}
	return nil
}

func (s *story) servicesByPage() error {
	const other = "interop.Other"
	what := instance(guest, 1, nil)
	what.ServiceName = other
	if err := register(s.second, what); err != nil {
		return err
	}
	sizes, names := []int{}, []string{}
	for page := uint32(1); page <= 3; page++ {
		found, err := s.first.GetAllServicesInfo(vo.GetAllServiceInfoParam{
			NameSpace: s.namespace, GroupName: group, PageNo: page, PageSize: 1})
		if err != nil {
			return err
		}
		if found.Count != 2 {
			return fmt.Errorf("count of %+v", found)
		}
		sizes, names = append(sizes, len(found.Doms)), append(names, found.Doms...)
	}
	sort.Strings(names)
	if !reflect.DeepEqual(sizes, []int{1, 1, 0}) || strings.Join(names, " ") != service+" "+other {
		return fmt.Errorf("got %v of sizes %v", names, sizes)
	}
	return deregister(s.second, other, guest)
}

func (s *story) watch() {
	check("subscriber_is_told_the_first_list", func() error {
		err := s.first.Subscribe(&vo.SubscribeParam{
			ServiceName: service, GroupName: group, Clusters: []string{"c1", "c2"},
			SubscribeCallback: s.subscriber.listen})
		if err != nil {
			return err
		}
		return eventually(toldLimit, func() error { return s.subscriber.lacks(one, two) })
	})
	come := func() error {
		return register(s.second, instance(guest, 1, map[string]string{"text": "guest"}))
	}
	leave := func() error { return deregister(s.second, service, guest) }
	came := func() error { return s.subscriber.lacks(one, two, guest) }
	left := func() error { return s.subscriber.lacks(one, two) }
	// Not right after it came: see goOn.
	undo := func() error {
		s.witness.ask(fmt.Sprintf("@beat %d", guest))
		return leave()
	}
	s.pushed("a_registration_is_pushed", come, came, undo, left)
	s.pushed("a_deregistration_is_pushed", leave, left, come, came)
	var to vo.RegisterInstanceParam
	update := func() error {
		to = instance(two, 0.5, map[string]string{"zone": "c2", "text": fmt.Sprint("changed ", time.Now().UnixNano(), text)})
		return change(s.first, to)
	}
	isUpdated := func() error {
		host := s.subscriber.last()[two]
		if host.Weight != to.Weight || !reflect.DeepEqual(host.Metadata, to.Metadata) {
			return fmt.Errorf("last told of %+v", host)
		}
		return nil
	}
	s.pushed("changed_weight_and_metadata_are_pushed", update, isUpdated, update, isUpdated)
}

// pushed proves a change to reach the subscriber by push. A poll that comes between by chance proves nothing: then the
// change is undone and made again.
func (s *story) pushed(name string, change, isTold, undo, isUndone func() error) {
	check(name, func() error {
		if isTold() == nil {
			return errors.New("told before the change")
		}
		for attempt := 0; attempt < pushAttempts; attempt++ {
			time.Sleep(quiet)
			before := s.witness.ask("@polls")
			start := time.Now()
			if err := change(); err != nil {
				return err
			}
			if err := eventually(pushLimit, isTold); err != nil {
				return err
			}
			took := time.Since(start)
			if s.witness.ask("@polls") == before {
				fmt.Printf("   pushed within %d ms\n", took.Milliseconds())
				return nil
			}
			if err := firstOf(undo(), eventually(toldLimit, isUndone)); err != nil {
				return err
			}
		}
		return errors.New("a poll came between each time")
	})
}

// loseOne has another process register an instance with short limits, and kills it.
func (s *story) loseOne() {
	other := exec.Command(os.Args[0], "mortal", fmt.Sprint(s.port), s.namespace)
	input, err := other.StdinPipe()
	if err := firstOf(err, other.Start()); err != nil {
		panic(err)
	}
	defer input.Close()
	check("instance_of_another_process_is_told_healthy", func() error {
		return eventually(toldLimit, func() error { return s.subscriber.lacks(one, two, mortal) })
	})
	// Longer than its limits: it lives by its beats.
	start := time.Now()
	time.Sleep(5 * time.Second)
	check("it_stays_healthy_by_its_beats", func() error {
		for _, list := range s.subscriber.since(start) {
			if !isHealthy(list.hosts[mortal]) {
				return fmt.Errorf("told %v", list)
			}
		}
		return s.subscriber.lacks(one, two, mortal)
	})
	killErr := other.Process.Kill()
	_ = other.Wait() // It says that it was killed.
	check("killed_without_a_word_it_is_told_unhealthy", func() error {
		return firstOf(killErr, eventually(goneLimit, func() error {
			if host, found := s.subscriber.last()[mortal]; !found || isHealthy(host) {
				return fmt.Errorf("last told %+v", host)
			}
			return nil
		}))
	})
	check("and_then_gone", func() error {
		return eventually(goneLimit, func() error { return s.subscriber.lacks(one, two) })
	})
}

func (s *story) die() {
	if err := register(s.client(s.namespace), instance(mortal, 1, short)); err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // Until it is killed, or the story has ended.
}

func (s *story) goOn(killed time.Time) {
	check("new_client_lists_all_at_its_first_call", func() error {
		return s.newClientLists(s.namespace, service, group, "7001 7002")
	})
	check("registration_by_another_client_reaches_the_subscriber_after_restart", func() error {
		start := time.Now()
		if err := register(s.second, instance(guest, 1, nil)); err != nil {
			return err
		}
		err := eventually(toldAfterRestart, func() error { return s.subscriber.lacks(one, two, guest) })
		fmt.Printf("   told after %d ms (polls every 10 s)\n", time.Since(start).Milliseconds())
		return err
	})
	// The client sends the first beat right after the registration. If it were overtaken by what comes next, it would
	// bring the guest back.
	s.witness.ask(fmt.Sprintf("@beat %d", guest))
	check("deregistration_by_another_client_reaches_the_subscriber_after_restart", func() error {
		return firstOf(deregister(s.second, service, guest),
			eventually(toldAfterRestart, func() error { return s.subscriber.lacks(one, two) }))
	})
	s.witness.ask("@settled")
	check("subscriber_was_told_no_short_list", func() error {
		for _, list := range s.subscriber.since(killed) {
			if !isHealthy(list.hosts[one]) || !isHealthy(list.hosts[two]) {
				return fmt.Errorf("told %v", list)
			}
		}
		return nil
	})
}

func (s *story) leave() {
	check("subscriber_is_told_that_both_have_left", func() error {
		for _, port := range []uint64{one, two} {
			s.witness.ask(fmt.Sprintf("@beat %d", port))
			if err := deregister(s.first, service, port); err != nil {
				return err
			}
		}
		return eventually(toldLimit, func() error { return s.subscriber.lacks() })
	})
	check("new_client_lists_none", func() error { return s.newClientLists(s.namespace, service, group, "") })
}
