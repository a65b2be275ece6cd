"""Branches: further lines of versions of one table."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from table_values import HookedStore, append, objects, overwrite, small_table

from lance_like.errors import AlreadyExists, Conflict, Corrupt, InvalidInput, NotFound, StorageError
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store
from lance_like.table.branches import Branches
from lance_like.table.commit import commit
from lance_like.table.gc import Policy, clean
from lance_like.table.history import locate, resolve, versions
from lance_like.table.layout import BRANCH_REFS, LEASES, LINES, branch_key, line_key, version_key
from lance_like.table.lease import announce
from lance_like.table.lines import branch_of
from lance_like.table.refs import Tags, delete_branch
from lance_like.table.snapshot import list_versions, read_manifest

LINE = "5" * 32


@pytest.fixture
def store() -> MemoryStore:
    """Three versions."""
    store, version = small_table()
    for _ in range(2):
        version = commit(store, version, append(1))
    return store


def roots_of_branches(store: MemoryStore) -> list[str]:
    return [key for key in objects(store) if key.startswith(LINES)]


def test_a_branch_begins_with_the_very_root_of_its_version(store: MemoryStore) -> None:
    before = objects(store)
    line = Branches(store).create("dev", store, 2)
    branch = Branches(store).read("dev")
    root = line_key(branch.line, version_key(2))
    assert objects(store) == {
        **before,
        root: before[version_key(2)],
        branch_key("dev"): store._objects[branch_key("dev")],
    }
    assert (branch.parent, branch.version, branch.ancestors) == (None, 2, ())
    assert (branch.nbytes, branch.metadata) == (len(before[version_key(2)]), {})
    assert (line.uri, branch_of(line), branch_of(store)) == (store.uri, "dev", None)
    assert list_versions(line) == [2]


def test_versions_go_on_from_the_number_where_a_branch_begins(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    made = commit(line, read_manifest(line, 2), append(5))
    assert (made.version, made.rows) == (3, 11)
    assert (resolve(line), resolve(store)) == (3, 3)
    assert read_manifest(line, 3) == made
    assert read_manifest(store, 3).rows == 7
    assert [one["version"] for one in versions(line)] == [2, 3]
    assert resolve(line, asof=versions(line)[0]["timestamp"]) == 2
    with pytest.raises(NotFound, match="2 versions, from 2 to 3"):
        resolve(line, 1)


def test_commits_on_two_lines_do_not_meet(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 3)
    base = read_manifest(store, 3)
    counting = CountingStore(store)
    commit(line, base, overwrite(1))
    with counted(counting) as counts:
        assert commit(counting, base, append(1)).version == 4
    assert counts.rounds == 1, "the base is looked at, nothing was judged"


def test_a_branch_of_a_branch_knows_all_above_it(store: MemoryStore) -> None:
    branches = Branches(store)
    one = branches.create("one", store, 2)
    commit(one, read_manifest(one, 2), append(1))
    branches.create("two/x", one, 3)
    first, second = branches.list().values()
    assert (second.name, second.parent, second.version) == ("two/x", "one", 3)
    assert second.ancestors == ((2, first.line),)
    delete_branch(store, "one")
    assert read_manifest(branches.open("two/x"), 3).rows == 7
    assert list(branches.list()) == ["two/x"]


def test_lines_are_the_table_and_its_branches(store: MemoryStore) -> None:
    branches = Branches(store)
    assert branches.lines() == {None: store}
    dev = branches.create("dev", store, 1)
    for at in (store, dev):
        lines = Branches(at).lines()
        assert list(lines) == [None, "dev"]
        assert [list_versions(line) for line in lines.values()] == [[1, 2, 3], [1]]
    assert Branches(dev).open(None) is Branches(dev).open("main") is store


def test_references_name_versions_on_any_line(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    commit(line, read_manifest(line, 2), append(1))
    Tags(line).create("t", 2)
    for at in (store, line):
        found = {reference: locate(at, reference) for reference in ("t", ("dev", 3), ("dev", None), (None, 1))}
        assert [(branch_of(line), number) for line, number in found.values()] == [
            ("dev", 2),
            ("dev", 3),
            ("dev", 3),
            (None, 1),
        ]
        assert locate(at, ("main", None)) == (store, 3)
    assert locate(line, 2) == (line, 2)
    for reference in (("no", None), ("no", 1), ("dev", 1)):
        with pytest.raises(NotFound):
            locate(store, reference)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A.b-c_d", ".x", "team/feature/1", "a" * 128, "versions", "_versions", "mains"])
def test_names_of_branches(store: MemoryStore, name: str) -> None:
    Branches(store).create(name, store, 1)
    assert list(Branches(store).list()) == [name]
    assert list_versions(Branches(store).open(name)) == [1]


@pytest.mark.parametrize(
    "name",
    [
        *("", "main", ".", "..", "a..b", "/a", "a/", "a//b", "a/./b", "a b", "a+b", "é", "x.lock", "x.lock/y", "a\\b"),
        *("a%2f", "a" * 129, "a\n", ".tmp-1", None, 5, b"a"),
    ],
)
def test_what_is_no_name_of_a_branch_is_refused(store: MemoryStore, name: str) -> None:
    before = objects(store)
    branches = Branches(store)
    for act in (
        lambda: branches.create(name, store, 1),
        lambda: branches.read(name),
        lambda: delete_branch(store, name),
    ):
        with pytest.raises(InvalidInput, match="not a name for a branch"):
            act()
    assert objects(store) == before


def test_names_that_no_branch_can_have_are_ignored(store: MemoryStore) -> None:
    for name in ("main.branch", "a++b.branch", "+a.branch", "a..b.branch", "a b.branch", "noend", "x.lock.branch"):
        store.put(f"{BRANCH_REFS}/{name}", [b"junk"])
    store.put(f"{LINES}/junk/_versions/{0:016x}/{1:020d}.manifest", [b"junk"])
    assert Branches(store).list() == {}


def test_a_taken_name_leaves_no_trace(store: MemoryStore) -> None:
    Branches(store).create("dev", store, 1)
    before = objects(store)
    with pytest.raises(AlreadyExists, match="'dev'"):
        Branches(store).create("dev", store, 2)
    assert objects(store) == before


def test_an_unknown_branch_names_those_there_are(store: MemoryStore) -> None:
    Branches(store).create("dev", store, 1)
    with pytest.raises(NotFound, match=r"branch 'no' does not exist.*known branches: 'dev'"):
        Branches(store).read("no")


# -- what goes wrong -----------------------------------------------------------------------------------------------


def test_the_name_is_put_last(store: MemoryStore) -> None:
    puts: list[str] = []
    hooked = HookedStore(store, before=lambda verb, key: puts.append(key) if verb.startswith("put") else None)
    Branches(hooked).create("dev", hooked, 3)
    assert [key.partition("/")[0] for key in puts] == [LEASES, LINES, "_refs"]


def after_naming(store: MemoryStore, act: Callable[[], object], key: str = branch_key("dev")) -> HookedStore:
    """A store where something happens once the name was put."""

    def hook(verb: str, at: str) -> None:
        if verb.startswith("put") and at == key:
            act()

    return HookedStore(store, after=hook)


def test_a_lost_answer_about_the_name_is_looked_up(store: MemoryStore) -> None:
    def lose() -> None:
        failure = StorageError("no answer")
        failure.errno = errno.ETIMEDOUT
        raise failure

    hooked = after_naming(store, lose)
    assert list_versions(Branches(hooked).create("dev", hooked, 2)) == [2]
    assert list(Branches(store).list()) == ["dev"]


def before_naming(store: MemoryStore, act: Callable[[], object]) -> HookedStore:
    """A store where something happens before a name is put."""
    return HookedStore(store, before=lambda verb, key: act() if verb.startswith("put") and "_refs/" in key else None)


NAMINGS: list[Callable[[Store], object]] = [
    lambda store: Branches(store).create("dev", store, 1),
    lambda store: Tags(store).create("t", 1),
    lambda store: Tags(store).update("there", 1),
]


@pytest.mark.parametrize("naming", NAMINGS)
def test_no_cleanup_removes_a_version_that_is_being_named(naming, store: MemoryStore) -> None:
    Tags(store).create("there", 2)
    policy = Policy(versions=(1,), delete_unverified=True)
    naming(before_naming(store, lambda: clean(store, policy)))
    assert list_versions(store)[0] == 1


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_version_that_a_cleanup_is_about_to_remove_gets_no_name(naming, store: MemoryStore) -> None:
    Tags(store).create("there", 2)
    before = objects(store)
    with announce(store, ((1, 2),)), pytest.raises(Conflict, match="cleanup removes version 1"):
        naming(store)
    assert objects(store) == before


def test_a_tagged_branch_is_not_deleted(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    Tags(store).create("main-tag", 2)
    Tags(line).create("t", 2)
    before = objects(store)
    with pytest.raises(InvalidInput, match="have tags: 't'"):
        delete_branch(store, "dev")
    assert objects(store) == before
    Tags(store).delete("t")
    delete_branch(line, "dev")
    assert roots_of_branches(store) == []
    with pytest.raises(NotFound, match="known branches: none"):
        delete_branch(store, "dev")


def test_a_branch_that_is_tagged_while_it_is_deleted_comes_back(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    before = objects(store)
    deletes: list[str] = []

    def tag(verb: str, key: str) -> None:
        if verb == "delete" and not deletes:
            deletes.append(key)
            Tags(line).create("t", 2)

    with pytest.raises(InvalidInput, match="have tags: 't'"):
        delete_branch(HookedStore(store, before=tag), "dev")
    assert objects(store).items() >= before.items()
    assert Tags(store).get_version("t") == 2


def test_a_tag_on_a_branch_that_is_deleted_meanwhile_is_not_made(store: MemoryStore) -> None:
    Branches(store).create("dev", store, 2)
    hooked = HookedStore(store)
    line = Branches(hooked).open("dev")

    def delete(verb: str, key: str) -> None:
        if verb == "put_if_absent":
            delete_branch(store, "dev")

    hooked.before = delete
    with pytest.raises(NotFound, match="branch 'dev' does not exist"):
        Tags(line).create("t", 2)
    assert Tags(store).list() == {}


def test_a_name_that_is_used_again_is_another_branch(store: MemoryStore) -> None:
    old = Branches(store).create("dev", store, 2)
    delete_branch(store, "dev")
    new = Branches(store).create("dev", store, 1)
    assert list_versions(new) == [1]
    with pytest.raises(NotFound, match=r"branch 'dev' has no version.*it was deleted"):
        resolve(old)


@pytest.mark.parametrize("edit", [lambda data: data[:-1], lambda data: b"", lambda data: bytes(len(data))])
def test_a_damaged_branch_is_noticed(store: MemoryStore, edit: Callable[[bytes], bytes]) -> None:
    Branches(store).create("dev", store, 2)
    store.put(branch_key("dev"), [edit(objects(store)[branch_key("dev")])])
    for read in (Branches(store).list, Branches(store).lines, lambda: locate(store, ("dev", 2))):
        with pytest.raises(Corrupt):
            read()


def test_faults_in_a_root_of_a_branch_tell_where_it_is(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    line.put(version_key(2), [b"x" * 30])
    with pytest.raises(Corrupt, match=f"{LINES}/{line.line}/_versions"):
        read_manifest(line, 2)


def test_metadata_of_branches_and_tags_is_replaced_whole(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    Tags(line).create("t", 2)
    before = Branches(store).read("dev"), Tags(store).read("t")
    for owner, name in ((Branches(store), "dev"), (Tags(store), "t")):
        owner.replace_metadata(name, {"a": "1"})
        owner.replace_metadata(name, {"b": "é"})
        assert owner.read(name).metadata == {"b": "é"}
        for bad in ({"a": 1}, {1: "a"}, ["a"], None):
            with pytest.raises(InvalidInput, match="texts"):
                owner.replace_metadata(name, bad)  # type: ignore[arg-type]
        owner.replace_metadata(name, {})
    assert (Branches(store).read("dev"), Tags(store).read("t")) == before
