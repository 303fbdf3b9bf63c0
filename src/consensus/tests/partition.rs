//! Who is cut off decides nothing, and says so in time; everybody else goes on.

use super::*;
use crate::error::Error;

fn is_undecided(outcome: &Result<Outcome>) -> bool {
    matches!(outcome, Err(Error::Undecided(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_in_time_and_the_majority_goes_on() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let servers = three(&net, &dirs).await;
    servers[0].group.run(register(1)).await.unwrap();
    let cut = led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    // The leader is the one that is cut off.
    net.islands.lock().insert(servers[cut].address.clone());
    let since = Instant::now();
    let outcome = servers[cut].group.run(register(66)).await;
    assert!(is_undecided(&outcome), "{outcome:?}");
    assert!(since.elapsed() < Duration::from_millis(4_500), "{:?}", since.elapsed());
    let rest: Vec<&Server> = servers.iter().enumerate().filter(|(at, _)| *at != cut).map(|(_, one)| one).collect();
    led(&rest, &[1, 2, 3]).await;
    for (server, port) in rest.iter().zip([2, 3]) {
        assert_eq!(server.group.run(register(port)).await, Ok(Outcome::Done));
    }
    // Once it knows, it says so at once.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let since = Instant::now();
    let outcome = servers[cut].group.run(register(67)).await;
    let said = outcome.as_ref().unwrap_err().message();
    assert!(said.ends_with("Could not find leader : naming_persistent_service"), "{said}");
    assert!(since.elapsed() < Duration::from_millis(300), "{:?}", since.elapsed());
    // What is ephemeral does not care.
    let ephemeral = Command::Register(key(5, true), Instance::default());
    assert!(!servers[cut].group.is_agreed(&ephemeral));
    assert_eq!(servers[cut].commit.run(ephemeral).await, Ok(Outcome::Done));
    net.islands.lock().clear();
    for server in &servers {
        until("one truth", || server.ports() == [1, 2, 3]).await;
    }
    let last = servers[cut].group.run(register(4)).await;
    assert!(last.is_ok() || is_undecided(&last), "{last:?}");
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_alone_of_three_makes_no_group() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let first = Server::start(&net, 1, &[1, 2, 3], &dirs.of(1)).await;
    let since = Instant::now();
    let outcome = first.group.run(register(1)).await;
    assert!(is_undecided(&outcome) && since.elapsed() < Duration::from_millis(4_000), "{outcome:?}");
    assert!(!first.group.has_caught_up() && first.ports().is_empty());
    // Two are enough, after some time; the third finds its place.
    let second = Server::start(&net, 2, &[1, 2, 3], &dirs.of(2)).await;
    led(&[&first, &second], &[1, 2, 3]).await;
    assert_eq!(second.group.run(register(2)).await, Ok(Outcome::Done));
    let third = Server::start(&net, 3, &[1, 2, 3], &dirs.of(3)).await;
    led(&[&first, &second, &third], &[1, 2, 3]).await;
    until("the third has it", || third.ports() == [2]).await;
    until("its vote", || third.votes()).await;
    // It really votes: without another the group goes on.
    second.stop(&net).await;
    until("a write", || third.group.state().is_some_and(|state| state.leader.is_some())).await;
    let mut outcome = third.group.run(register(3)).await;
    for _ in 0..5 {
        if outcome.is_ok() {
            break;
        }
        outcome = third.group.run(register(3)).await;
    }
    assert_eq!(outcome, Ok(Outcome::Done));
    stop_all(vec![first, third], &net).await;
}
