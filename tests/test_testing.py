"""The pytest plugin, in test runs of its own."""

import pytest

from ioto_async.emulator import EmulatorThread

INI = "[pytest]\nfilterwarnings = error\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n"


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of a user, in auto mode."""
    for name in ("IOTO_API", "IOTO_TOKEN", "IOTO_ACCOUNT", "IOTO_BUILDER", "IOTO_HOST", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini(INI.format(mode="auto"))
    return pytester


def run(inner: pytest.Pytester, *options: str, plugin: str = "asyncio") -> pytest.RunResult:
    # Plugins that have no part in it only cost time; ours is found by its entry point.
    others = {"randomly", "cacheprovider", "hypothesispytest", "anyio", "asyncio", "timeout", "aiohttp"} - {plugin}
    without = [word for name in others for word in ("-p", f"no:{name}")]
    return inner.runpytest_subprocess(*without, *options)


def outcomes(inner: pytest.Pytester, *options: str, **expected: int) -> None:
    run(inner, *options).assert_outcomes(**expected)


def test_a_test_of_one_line_has_a_client_of_an_empty_cloud(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        async def test_one_line(ioto_client):
            assert (await ioto_client.device.find()).items == []
        """
    )
    outcomes(inner, passed=1)


def test_strict_mode_needs_nothing_but_its_marker(inner: pytest.Pytester) -> None:
    inner.makeini(INI.format(mode="strict"))
    inner.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_strict(ioto_client):
            assert (await ioto_client.device.find()).items == []
        """
    )
    outcomes(inner, passed=1)


def test_nothing_of_a_test_is_left_for_the_next(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest
        from ioto_async.emulator import Fault

        @pytest.mark.parametrize("turn", [1, 2])
        async def test_isolated(turn, ioto_client, ioto_emulator):
            assert not ioto_emulator.requests
            assert ioto_emulator.cloud.type == "dedicated"
            ioto_emulator.cloud.type = "eval"
            ioto_emulator.cloud.clock = lambda: 0.0
            ioto_emulator.cloud.register_device("DEV1")
            device = await ioto_client.device.claim("DEV1")
            assert device.created.year == 1970
            await ioto_client.store.set("DEV1", "colour", "red")
            ioto_emulator.faults.add(Fault(status=500, times=None))

        async def test_after(ioto_client, ioto_emulator):
            assert (await ioto_client.device.find()).items == []
            ioto_emulator.cloud.register_device("DEV1")
            assert (await ioto_client.device.claim("DEV1")).created.year > 2000
            assert (await ioto_client.store.find("DEV1")).items == []
        """
    )
    outcomes(inner, passed=3)


def test_one_server_with_the_same_tokens_serves_all_tests(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest

        seen = set()

        @pytest.mark.parametrize("turn", [1, 2, 3])
        def test_same(turn, ioto_emulator):
            seen.add(tuple(ioto_emulator.info().values()))
            assert len(seen) == 1
        """
    )
    outcomes(inner, passed=3)


def test_a_call_that_a_test_left_behind_does_not_hold_up_the_run(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest
        from ioto_async import CallTimeoutError
        from ioto_async.emulator import Fault

        async def test_gives_up(ioto_client, ioto_emulator):
            await ioto_client.test.ping()  # there is a connection now
            ioto_emulator.faults.add(Fault(delay=3600, times=None))
            with pytest.raises(CallTimeoutError):
                await ioto_client.device.get("DEV1", timeout=0.1, retries=0)

        async def test_goes_on(ioto_client):
            assert (await ioto_client.device.find()).items == []
        """
    )
    outcomes(inner, passed=2)


def test_code_that_is_not_async_can_use_the_emulator_alone(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import asyncio
        from ioto_async import IotoClient

        async def count(environ):
            async with IotoClient.from_env(environ) as client:
                return len((await client.device.find()).items)

        def test_sync(ioto_emulator):
            ioto_emulator.cloud.register_device("DEV1")
            ioto_emulator.cloud.claim_device("DEV1")
            assert asyncio.run(count(ioto_emulator.env)) == 1
        """
    )
    inner.makeini("[pytest]\nfilterwarnings = error\n")
    run(inner, plugin="").assert_outcomes(passed=1)


def test_client_and_links_work_in_the_loop_of_their_test_whatever_its_scope(inner: pytest.Pytester) -> None:
    inner.makeini(INI.format(mode="strict") + "asyncio_default_test_loop_scope = session\n")
    inner.makepyfile(
        """
        import pytest

        links = []

        @pytest.mark.parametrize(
            "scope",
            [
                pytest.param(scope, marks=pytest.mark.asyncio(loop_scope=scope) if scope else pytest.mark.asyncio)
                for scope in (None, "function", "class", "module", "package", "session")
            ],
        )
        class TestLoops:
            async def test_loop(self, scope, ioto_client, ioto_link):
                assert not any(link.is_connected for link in links)
                links.append(await ioto_link())
                assert (await ioto_client.device.find()).items[0].id == links[-1].device_id

        def test_not_async(ioto_client, ioto_link):
            assert len(links) == 6
            assert not any(link.is_connected for link in links)
        """
    )
    outcomes(inner, passed=7)


ANYIO = """
    import pytest

    @pytest.fixture
    def anyio_backend():
        return "asyncio", {"debug": True}

    links = []

    @pytest.fixture
    async def device(ioto_client, ioto_link):
        links.append(await ioto_link())
        return await ioto_client.device.get(links[-1].device_id)

    @pytest.mark.anyio
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_anyio(turn, device, ioto_client):
        assert await ioto_client.device.get(device.id) == device
        assert [link.is_connected for link in links] == [False, True][-turn:]
"""


def test_client_and_links_work_with_anyio_alone(inner: pytest.Pytester) -> None:
    inner.makeini("[pytest]\nfilterwarnings = error\n")
    inner.makepyfile(ANYIO)
    run(inner, plugin="anyio").assert_outcomes(passed=2)


def test_client_and_links_work_with_anyio_beside_pytest_asyncio(inner: pytest.Pytester) -> None:
    inner.makeini(INI.format(mode="strict"))
    inner.makepyfile(
        ANYIO,
        test_mistakes="""
        import pytest

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["trio"])
        async def test_trio(anyio_backend, ioto_client):
            assert (await ioto_client.device.find()).items == []

        @pytest.mark.anyio
        @pytest.mark.asyncio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_both(anyio_backend, ioto_link):
            await ioto_link()
        """,
    )
    result = run(inner, "-p", "anyio.pytest_plugin")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "ioto_client needs asyncio, not 'trio': define a fixture anyio_backend that returns 'asyncio'",
            "ioto_link: pytest-asyncio and anyio both run this test: mark it for one, with asyncio_mode = strict",
        ]
    )


def test_each_process_of_xdist_has_a_cloud_of_its_own(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        from pathlib import Path

        async def test_alone(ioto_client, ioto_fleet, ioto_emulator, worker_id):
            Path(worker_id).write_text(ioto_emulator.api)
            assert [device.id for device in (await ioto_client.device.find()).items] == []
            assert ioto_fleet(2) == [device.id for device in (await ioto_client.device.find()).items]
        """
    )
    outcomes(inner, "--tx", "2*popen", "--dist", "each", passed=2)
    assert (inner.path / "gw0").read_text() != (inner.path / "gw1").read_text()


def test_without_its_extra_the_emulator_says_how_to_install_it(inner: pytest.Pytester) -> None:
    inner.makepyfile(semver="raise ModuleNotFoundError(\"No module named 'semver'\", name='semver')")
    inner.makepyfile("def test_it(ioto_emulator): ...")
    result = run(inner)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["semver is not installed, which the emulator needs*: pip install *emulator*"])


def test_a_run_that_does_not_use_it_imports_nothing_of_weight(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import sys

        def test_light():
            assert "ioto_async.testing" in sys.modules
            heavy = {"aiohttp", "attrs", "attr", "cattrs", "cryptography", "orjson", "yarl", "semver", "sqlite3"}
            assert heavy & set(sys.modules) == set()
            ours = {name for name in sys.modules if name.startswith("ioto_async.")}
            assert ours <= {
                "ioto_async.testing", "ioto_async.testing.loops",
                "ioto_async._lazy", "ioto_async._version", "ioto_async.errors",
            }
        """
    )
    outcomes(inner, passed=1)


@pytest.fixture
def without_asyncio(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in an environment that has no pytest-asyncio."""
    inner.makeini("[pytest]\nfilterwarnings = error\n")
    inner.makepyfile(
        pytest_asyncio="""
        raise ModuleNotFoundError("No module named 'pytest_asyncio'", name="pytest_asyncio")
        """
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return inner


def run_without_asyncio(project: pytest.Pytester) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "ioto_async.testing")


def test_without_pytest_asyncio_an_async_test_fails_and_is_told_what_is_missing(
    without_asyncio: pytest.Pytester,
) -> None:
    without_asyncio.makepyfile(
        """
        async def test_one_line(ioto_client):
            assert (await ioto_client.device.find()).items == []
        """
    )
    result = run_without_asyncio(without_asyncio)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "passed" not in result.parseoutcomes()
    assert "pytest-asyncio" in result.stdout.str()


def test_without_pytest_asyncio_a_test_of_the_emulator_passes(without_asyncio: pytest.Pytester) -> None:
    without_asyncio.makepyfile(
        """
        def test_emulator(ioto_emulator):
            assert ioto_emulator.cloud.register_device("DEV1") == "DEV1"
        """
    )
    run_without_asyncio(without_asyncio).assert_outcomes(passed=1)


def test_without_pytest_asyncio_a_test_that_is_not_async_gets_no_broken_client(
    without_asyncio: pytest.Pytester,
) -> None:
    without_asyncio.makepyfile(
        """
        def test_not_async(ioto_client):
            pass
        """
    )
    run_without_asyncio(without_asyncio).assert_outcomes(errors=1)


# Cassettes --------------------------------------------------------------------------------------------------------

CASSETTES = """
    import os
    import pytest
    from ioto_async import IotoClient

    pytestmark = pytest.mark.asyncio

    @pytest.mark.parametrize("name", ["a/b", "a b", "b", "long" * 99])
    async def test_ping(name, ioto_cassette):
        async with IotoClient(cassette=ioto_cassette) as client:
            assert await client.test.ping() == "pinged"

    class TestDevices:
        @pytest.mark.ioto_cassette(order="strict", ignore=["limit"])
        async def test_find(self, ioto_cassette):
            async with IotoClient(cassette=ioto_cassette) as client:
                assert (await client.device.find(limit=5)).items == []
"""


@pytest.mark.parametrize(("mode", "options"), [("auto", ()), ("strict", ("-n", "2"))])
def test_a_cassette_is_recorded_beside_its_test_and_played(
    inner: pytest.Pytester,
    mode: str,
    options: tuple[str, ...],
    ioto_emulator: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner.makeini(INI.format(mode=mode))
    inner.makepyfile(test_fleet=CASSETTES)
    with monkeypatch.context() as environ:
        for name, value in ioto_emulator.env.items():
            environ.setenv(name, value)
        outcomes(inner, "--ioto-record=once", passed=5)
    names = sorted(path.name for path in (inner.path / "cassettes" / "test_fleet").iterdir())
    assert len(names) == 5
    assert {"TestDevices.test_find.cassette", "test_ping[b].cassette"} < {*names}
    assert len(ioto_emulator.requests) == 5
    outcomes(inner, *options, passed=5)
    assert len(ioto_emulator.requests) == 5


def test_a_test_without_its_cassette_says_how_to_record_it(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_it(ioto_cassette): ...")
    result = inner.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*there is no cassette *test_it.cassette: run the test with --ioto-record=once*"])
