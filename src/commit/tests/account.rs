//! Changes of users, roles and permissions.

use super::*;
use crate::model::account::{ADMIN_ROLE, AccountChange, PasswordHash};

fn user(name: &str) -> AccountChange {
    AccountChange::AddUser { user: name.into(), hash: PasswordHash("h".into()) }
}

fn grant(role: &str, user: &str) -> AccountChange {
    AccountChange::Grant { role: role.into(), user: user.into() }
}

fn permit(role: &str) -> AccountChange {
    AccountChange::Permit { role: role.into(), resource: "*".into(), action: "r".into() }
}

fn revoke(role: &str, user: Option<&str>) -> AccountChange {
    AccountChange::Revoke { role: role.into(), user: user.map(Into::into) }
}

impl World {
    fn account(&self, change: AccountChange) -> Result<()> {
        self.run(Command::Account(change)).map(|_| ())
    }

    fn names(&self) -> (Vec<String>, Vec<String>, usize) {
        let settings = self.registry.settings();
        let users = settings.users().into_iter().map(|(name, _)| name.to_string()).collect();
        let roles = settings.roles().into_iter().map(|(role, user)| format!("{role}/{user}")).collect();
        (users, roles, settings.permissions().len())
    }
}

fn input(text: &str) -> Result<()> {
    Err(Error::Input(text.into()))
}

#[test]
fn users_roles_and_permissions_come_and_go_by_the_rules() {
    let world = World::new(Durability::Written);
    assert_eq!(world.account(user("u")), Ok(()));
    assert_eq!(world.account(user("u")), input("user 'u' already exist!"));
    assert_eq!(world.account(grant("r", "x")), input("user 'x' not found!"));
    assert_eq!(world.account(grant(ADMIN_ROLE, "x")), input("user 'x' not found!"));
    assert_eq!(world.account(grant(ADMIN_ROLE, "u")), input("role 'ROLE_ADMIN' is not permitted to create!"));
    assert_eq!(world.account(permit("r")), input("role r not found!"));
    assert_eq!(world.account(grant("r", "u")), Ok(()));
    assert_eq!(world.account(grant("r", "u")), Ok(()));
    assert_eq!(world.account(permit("r")), Ok(()));
    assert_eq!(world.account(permit("r")), Ok(()));
    assert_eq!(world.names(), (vec!["u".into()], vec!["r/u".into()], 1));
    let set = AccountChange::SetPassword { user: "u".into(), hash: PasswordHash("new".into()) };
    assert_eq!(world.account(set), Ok(()));
    assert_eq!(world.registry.settings().user("u").unwrap().password_hash, "new");
    let set = AccountChange::SetPassword { user: "x".into(), hash: PasswordHash("new".into()) };
    assert_eq!(world.account(set), input("user x not exist!"));
    let forbid = AccountChange::Forbid { role: "r".into(), resource: "*".into(), action: "r".into() };
    assert_eq!((world.account(forbid.clone()), world.account(forbid)), (Ok(()), Ok(())));
    assert_eq!(world.names().2, 0);
    world.stop();
}

#[test]
fn a_role_that_nobody_holds_leaves_no_permission_behind() {
    let world = World::new(Durability::Written);
    for change in [user("u"), user("v"), grant("r", "u"), grant("r", "v"), grant("s", "v"), permit("r"), permit("s")] {
        world.account(change).unwrap();
    }
    world.account(revoke("r", Some("u"))).unwrap();
    assert_eq!(world.names().2, 2);
    world.account(revoke("r", Some("x"))).unwrap();
    assert_eq!(world.names().2, 2);
    world.account(AccountChange::DeleteUser { user: "v".into() }).unwrap();
    assert_eq!(world.names(), (vec!["u".into()], vec![], 0));
    for change in [grant("r", "u"), permit("r"), revoke("r", None)] {
        world.account(change).unwrap();
    }
    assert_eq!(world.names(), (vec!["u".into()], vec![], 0));
    world.account(AccountChange::DeleteUser { user: "x".into() }).unwrap();
    world.stop();
}

#[test]
fn there_is_one_first_admin_who_stays() {
    let world = World::new(Durability::Written);
    let first = |name: &str| AccountChange::FirstAdmin { user: name.into(), hash: PasswordHash("h".into()) };
    world.account(first("nacos")).unwrap();
    world.account(first("other")).unwrap();
    assert_eq!(world.names(), (vec!["nacos".into()], vec!["ROLE_ADMIN/nacos".into()], 0));
    let delete = AccountChange::DeleteUser { user: "nacos".into() };
    assert_eq!(world.account(delete), input("cannot delete admin: nacos"));
    for user in [None, Some("nacos")] {
        let refused = world.account(revoke(ADMIN_ROLE, user));
        assert_eq!(refused, input("role 'ROLE_ADMIN' is not permitted to delete!"));
    }
    world.stop();
}

#[test]
fn changes_that_meet_in_one_batch_see_each_other() {
    let world = World::new(Durability::Written);
    let all = [user("u"), user("u"), grant("r", "u"), permit("r"), revoke("r", None)];
    let outcomes = world.together(all.into_iter().map(Command::Account).collect());
    let good: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, true, true]);
    assert_eq!(world.names(), (vec!["u".into()], vec![], 0));
    world.stop();
}
