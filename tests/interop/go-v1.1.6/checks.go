package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/model"
)

// check runs a named check and prints its line. A failed check never stops the ones after it.
func check(name string, body func() error) {
	if err := body(); err != nil {
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Printf("PASS %s\n", name)
	}
}

// firstOf is the first error there is. (The oldest Go that distributions still have knows no errors.Join.)
func firstOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// eventually waits until problem returns nil; its last error is the reason when it never does.
func eventually(limit time.Duration, problem func() error) error {
	end := time.Now().Add(limit)
	for {
		err := problem()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w (waited %v)", err, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// witness is the process that started this one. Without it this one ends too.
type witness struct{ answers chan string }

func newWitness() witness {
	w := witness{make(chan string)}
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			w.answers <- lines.Text()
		}
		os.Exit(3)
	}()
	return w
}

// ask returns what follows `done` in the answer.
func (w witness) ask(line string) string {
	fmt.Println(line)
	return strings.TrimSpace(strings.TrimPrefix(<-w.answers, "done"))
}

// subscriber keeps every list that it is told.
type subscriber struct {
	mutex sync.Mutex
	lists []told
}

type told struct {
	at    time.Time
	hosts map[uint64]model.SubscribeService
}

func (s *subscriber) listen(hosts []model.SubscribeService, _ error) {
	// Without any host the client also gives an error that says so.
	list := told{time.Now(), map[uint64]model.SubscribeService{}}
	for _, host := range hosts {
		list.hosts[host.Port] = host
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.lists = append(s.lists, list)
}

func (s *subscriber) since(at time.Time) []told {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var found []told
	for _, list := range s.lists {
		if list.at.After(at) {
			found = append(found, list)
		}
	}
	return found
}

// last is the newest list; it is nil if there was none yet, which is not the same as an empty one.
func (s *subscriber) last() map[uint64]model.SubscribeService {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.lists) == 0 {
		return nil
	}
	return s.lists[len(s.lists)-1].hosts
}

// lacks is nil if the newest list holds just these ports, all healthy.
func (s *subscriber) lacks(wanted ...uint64) error {
	hosts := s.last()
	for _, port := range wanted {
		if !isHealthy(hosts[port]) {
			return fmt.Errorf("last told %v, not all of %v healthy", hosts, wanted)
		}
	}
	if hosts == nil || len(hosts) != len(wanted) {
		return fmt.Errorf("last told %v, not %v", hosts, wanted)
	}
	return nil
}

// ports is what is listed, sorted, as text.
func ports(instances []model.Instance) string {
	found := []string{}
	for _, one := range instances {
		found = append(found, fmt.Sprint(one.Port))
	}
	sort.Strings(found)
	return strings.Join(found, " ")
}

func portsAre(instances []model.Instance, wanted string) error {
	if got := ports(instances); got != wanted {
		return fmt.Errorf("got %q, not %q", got, wanted)
	}
	return nil
}
