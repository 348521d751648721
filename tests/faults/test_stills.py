"""A folder of pictures on the wall, some of which are none: a real process on a real screen."""

from PIL import Image

from tests import odd_pictures
from tests.wall_process import Running, needs_xvfb, x_server


@needs_xvfb
def test_no_picture_ends_the_show(tmp_path, built):
    folder = tmp_path / "pictures"
    folder.mkdir()
    # First what is more than a graphics card can draw, then what is none.
    Image.new("RGB", (70_000, 16), "red").save(folder / "a.png")
    Image.new("RGB", (1, 60_000), "red").save(folder / "b.png")
    (folder / "c.png").write_text("hello")
    (folder / "d.png").mkdir()
    (folder / "e.png").symlink_to("nowhere")
    odd_pictures.picture(64, 48).save(folder / "f.png")
    (tmp_path / "config.yaml").write_text(
        "camera: {source: pictures, fps: 10}\nrecord: {file: null}\nstatus: {port: null}\n"
        f"inference: {{engines: {built}, device: cpu}}\n"
    )
    with x_server() as (_, display):
        wall = Running(tmp_path, display)
        try:
            # They are shown in the order of their names: the last one, and the first again.
            wall.wait_to_log("e.png: no such file; skipped")
            wall.wait_for("frames per second", times=5)
            said = wall.log.read_text()
            assert all(said.count(f"{each}.png: ") == 1 for each in "cde")
            assert "Traceback" not in said and "ERROR" not in said
            (folder / "f.png").unlink()
            (folder / "a.png").unlink()
            (folder / "b.png").unlink()
            wall.wait_to_log("no readable images in this folder")
            odd_pictures.picture(64, 48).save(folder / "g.png")
            wall.wait_to_log("pictures: back after")
            assert wall.end() == 0
        finally:
            wall.close()
